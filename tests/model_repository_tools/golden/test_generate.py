import numpy as np
import pytest

from model_repository_tools.errors import InvalidTensorError
from model_repository_tools.golden import generate_inputs
from model_repository_tools.tensors import DataType, TensorSpec, from_json_tensor


def test_the_same_call_gives_the_same_request() -> None:
    specs = (TensorSpec("x", DataType.FP32, (-1, 4)), TensorSpec("ids", DataType.INT64, (-1, -1)))
    assert generate_inputs(specs) == generate_inputs(specs)
    assert generate_inputs(specs, seed=1) != generate_inputs(specs)
    assert [tensor["shape"] for tensor in generate_inputs(specs, free_size=7)] == [[1, 4], [1, 7]]


@pytest.mark.parametrize("data_type", [data_type for data_type in DataType if data_type.has_json_form])
def test_every_type_with_a_json_form_gets_values(data_type: DataType) -> None:
    (tensor,) = generate_inputs((TensorSpec("x", data_type, (3, 50)),))
    array = from_json_tensor(tensor)
    assert array.shape == (3, 50)
    assert array.dtype == data_type.numpy
    assert len(set(array.ravel().tolist())) > 1


def test_whole_numbers_are_small_because_they_often_are_indices() -> None:
    (tensor,) = generate_inputs((TensorSpec("ids", DataType.INT64, (100,)),))
    assert set(tensor["data"]) == {0, 1}


def test_floats_survive_json_exactly() -> None:
    (tensor,) = generate_inputs((TensorSpec("x", DataType.FP32, (100,)),))
    assert np.array_equal(from_json_tensor(tensor), np.array(tensor["data"], np.float32))


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (TensorSpec("x", DataType.FP16, (1,)), "tensor.no_json_form"),
        (TensorSpec("x", DataType.BF16, (1,)), "tensor.no_numpy_form"),
        (TensorSpec("x", DataType.FP32, (2147483647, 2147483647)), "golden.too_large"),
        (TensorSpec("x", DataType.FP32, (1 << 21,)), "golden.too_large"),
    ],
)
def test_what_cannot_be_made_up_is_refused_before_it_takes_memory(spec: TensorSpec, code: str) -> None:
    with pytest.raises(InvalidTensorError) as caught:
        generate_inputs((spec,))
    assert caught.value.code == code
