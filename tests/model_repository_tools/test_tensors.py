import json
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from model_repository_tools.errors import InvalidTensorError
from model_repository_tools.tensors import DataType, TensorSpec, from_json_tensor, to_json_tensor


@pytest.mark.parametrize("data_type", DataType)
def test_every_type_is_one_of_tritons_and_of_onnx(data_type: DataType) -> None:
    assert model_config_pb2.DataType.Value(data_type.config_name) > 0
    assert DataType.from_onnx(data_type.onnx) is data_type
    if data_type is not DataType.BF16:
        assert np.dtype(triton_to_np_dtype(data_type.value)) == data_type.numpy
        assert np_to_triton_dtype(data_type.numpy) == data_type.value
        assert DataType.from_numpy(data_type.numpy) is data_type
    assert onnx.helper.tensor_dtype_to_np_dtype(data_type.onnx) == (
        np.dtype(ml_dtypes.bfloat16) if data_type is DataType.BF16 else data_type.numpy
    )


def test_all_of_tritons_types_are_known() -> None:
    assert set(model_config_pb2.DataType.keys()) == {"TYPE_INVALID", *(data_type.config_name for data_type in DataType)}


@pytest.mark.parametrize("name", ["COMPLEX64", "FLOAT8E4M3FN", "INT4", "UNDEFINED"])
def test_types_that_triton_lacks_are_none(name: str) -> None:
    assert DataType.from_onnx(onnx.TensorProto.DataType.Value(name)) is None


def test_bf16_has_no_numpy_form_and_complex_numbers_no_triton_form() -> None:
    with pytest.raises(InvalidTensorError):
        _ = DataType.BF16.numpy
    with pytest.raises(InvalidTensorError):
        DataType.from_numpy(np.dtype(np.complex64))


JSON_TYPES = [data_type for data_type in DataType if data_type.has_json_form and data_type is not DataType.BYTES]


@given(st.data(), st.sampled_from(JSON_TYPES))
def test_numeric_tensors_survive_json_exactly(data: st.DataObject, data_type: DataType) -> None:
    array = data.draw(hnp.arrays(data_type.numpy, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
    back = from_json_tensor(json.loads(json.dumps(to_json_tensor("x", array))))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_strings_survive_json(texts: list[str]) -> None:
    encoded = np.array([text.encode("utf-8", "surrogatepass") for text in texts], dtype=object)
    try:
        tensor = to_json_tensor("x", encoded)
    except InvalidTensorError:
        assert any("\ud800" <= character <= "\udfff" for text in texts for character in text)
        return
    assert tensor["datatype"] == "BYTES"
    assert from_json_tensor(json.loads(json.dumps(tensor))).tolist() == encoded.tolist()


def test_bytes_that_are_not_utf_8_have_no_json_form() -> None:
    with pytest.raises(InvalidTensorError) as caught:
        to_json_tensor("x", np.array([b"\xff"], dtype=object))
    assert caught.value.code == "tensor.no_json_form"


def test_half_floats_have_no_json_form() -> None:
    with pytest.raises(InvalidTensorError):
        to_json_tensor("x", np.zeros(1, np.float16))
    with pytest.raises(InvalidTensorError):
        from_json_tensor({"name": "x", "datatype": "FP16", "shape": [1], "data": [0.0]})


def test_nested_data_is_read_row_by_row() -> None:
    tensor = {"name": "x", "datatype": "INT32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}
    assert from_json_tensor(tensor).tolist() == [[1, 2], [3, 4]]


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"datatype": "FLOAT"},
        {"datatype": None},
        {"datatype": ["FP32"]},
        {"shape": None},
        {"shape": "22"},
        {"shape": [-1, 4]},
        {"shape": [2.0, 2]},
        {"shape": [True, 4]},
        {"shape": [1] * 33},
        {"shape": [2, 3]},
        {"shape": [9223372036854775807, 64]},
        {"data": None},
        {"data": "1234"},
        {"data": [1, 2, 3]},
        {"data": [1, 2, 3, "4"]},
        {"data": [1, 2, 3, 1.5]},
        {"data": [1, 2, 3, True]},
        {"data": [1, 2, 3, None]},
        {"data": [1, 2, 3, 300]},
        {"data": [1, 2, 3, -1]},
        {"data": [[[1]], 2, 3, 4]},
        {"data": deep(500)},
        {"datatype": "BOOL"},
        {"datatype": "BYTES"},
    ],
)
def test_a_malformed_tensor_is_refused(change: dict[str, Any]) -> None:
    tensor = {"name": "x", "datatype": "UINT8", "shape": [2, 2], "data": [1, 2, 3, 4]}
    from_json_tensor(tensor)
    with pytest.raises(InvalidTensorError):
        from_json_tensor(tensor | change)


def test_a_tensor_spec_survives_json() -> None:
    spec = TensorSpec("x", DataType.FP32, (-1, 4), ("batch", ""))
    assert TensorSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
