import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from model_repository_tools.config import derive_config
from model_repository_tools.errors import InvalidTensorError, ReferenceFailedError
from model_repository_tools.golden import (
    GoldenSample,
    Origin,
    Tolerance,
    compare,
    infer_request,
    reference_outputs,
    warm_up,
)
from model_repository_tools.inspection import inspect_onnx
from model_repository_tools.tensors import to_json_tensor
from tests.model_repository_tools.graphs import save_double, save_model, tensor

ONE_ROW = to_json_tensor("x", np.array([[1, 2, 3, 4]], np.float32))


def floats(*values: float, name: str = "y") -> Any:
    return to_json_tensor(name, np.array(values, np.float32))


def test_a_sample_survives_json() -> None:
    sample = GoldenSample((ONE_ROW,), (floats(1.5),), Tolerance(0.1, 0.2), Origin.REFERENCE)
    assert GoldenSample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"inputs": [], "outputs": []},
        {"inputs": [ONE_ROW], "outputs": []},
        {"inputs": 1, "outputs": 2},
        {"inputs": ["x"], "outputs": ["y"]},
        {"inputs": [ONE_ROW], "outputs": [{"name": "y"}]},
        {"inputs": [ONE_ROW], "outputs": [ONE_ROW], "tolerance": {"unknown": 1}},
        {"inputs": [ONE_ROW], "outputs": [ONE_ROW], "origin": "heaven"},
    ],
)
def test_what_is_no_sample_is_refused(value: Any) -> None:
    with pytest.raises(InvalidTensorError):
        GoldenSample.from_dict(value)


def test_the_request_asks_for_the_outputs_that_are_known() -> None:
    request = infer_request(GoldenSample((ONE_ROW,), (floats(1),)))
    assert request["inputs"] == [ONE_ROW]
    assert [output["name"] for output in request["outputs"]] == ["y"]


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (floats(1, 2), floats(1, 2)),
        (floats(1000), floats(1000.9)),
        (floats(0), floats(0.00009)),
        (floats(np.nan, np.inf, -np.inf), floats(np.nan, np.inf, -np.inf)),
        (floats(np.nan), {"name": "y", "datatype": "FP32", "shape": [1], "data": [None]}),
        (floats(1), {**floats(1), "parameters": {}}),
        (to_json_tensor("y", np.array([b"a"], object)), to_json_tensor("y", np.array([b"a"], object))),
        (to_json_tensor("y", np.zeros((0, 3), np.int64)), to_json_tensor("y", np.zeros((0, 3), np.int64))),
    ],
)
def test_equal_answers_have_no_findings(expected: Any, actual: Any) -> None:
    assert compare([expected], [floats(7, name="other"), actual]) == []


@pytest.mark.parametrize(
    ("actual", "code"),
    [
        (floats(1, 2, name="z"), "golden.missing"),
        (floats(1, 2.1), "golden.values"),
        (floats(1, np.nan), "golden.values"),
        (floats(1, np.inf), "golden.values"),
        (floats(1), "golden.shape"),
        (to_json_tensor("y", np.array([1, 2])), "golden.datatype"),
        ({"name": "y", "datatype": "FP32", "shape": [2], "data": ["a", "b"]}, "golden.malformed"),
        ({"name": "y", "datatype": "FP32", "shape": [2]}, "golden.malformed"),
        ({}, "golden.missing"),
    ],
)
def test_a_different_answer_says_where(actual: Any, code: str) -> None:
    findings = compare([floats(1, 2)], [actual])
    assert [(finding.code, finding.path) for finding in findings] == [(code, "y")]


def test_whole_numbers_must_be_equal_whatever_the_tolerance() -> None:
    expected, actual = (to_json_tensor("y", np.array([value])) for value in (1000, 1001))
    (finding,) = compare([expected], [actual], Tolerance(100, 100))
    assert finding.message == "output y differs in 1 of 1 values, first at [0]: 1001 instead of 1000"


def test_onnxruntime_gives_the_reference(tmp_path: Path) -> None:
    (output,) = reference_outputs(save_double(tmp_path / "model.onnx"), [ONE_ROW])
    assert output == {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2.0, 4.0, 6.0, 8.0]}


def test_rows_that_are_one_number_or_string_are_seen_as_a_client_sees_them(tmp_path: Path) -> None:
    text, number = TensorProto.STRING, TensorProto.INT64
    path = save_model(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Add", ["n", "n"], ["m"])],
        [tensor("s", ["b"], text), tensor("n", ["b"], number)],
        [tensor("t", ["b"], text), tensor("m", ["b"], number)],
    )
    config = derive_config(inspect_onnx(path), "m.v1", 1)
    inputs = [
        to_json_tensor("s", np.array([["ä".encode()], [b"b"]], object)),
        to_json_tensor("n", np.array([[1], [2]])),
    ]
    strings, numbers = reference_outputs(path, inputs, config)
    assert (strings["shape"], strings["data"]) == ([2, 1], ["ä", "b"])
    assert (numbers["shape"], numbers["data"]) == ([2, 1], [2, 4])


def test_a_model_that_onnxruntime_refuses_is_an_error_without_paths(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ReferenceFailedError) as caught:
        reference_outputs(tmp_path / "model.onnx", [ONE_ROW])
    assert "onnxruntime refused" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_inputs_that_the_model_does_not_take_are_an_error(tmp_path: Path) -> None:
    path = save_double(tmp_path / "model.onnx")
    with pytest.raises(ReferenceFailedError, match="onnxruntime refused"):
        reference_outputs(path, [to_json_tensor("x", np.zeros((1, 5), np.float32))])


def test_a_host_without_onnxruntime_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ReferenceFailedError, match="pip install onnxruntime") as caught:
        reference_outputs(tmp_path / "model.onnx", [])
    assert caught.value.code == "reference.missing"


def test_a_warm_up_sends_the_first_row_as_raw_bytes(tmp_path: Path) -> None:
    config = derive_config(inspect_onnx(save_double(tmp_path / "model.onnx")), "m.v1", 1)
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    request, files = warm_up(GoldenSample((to_json_tensor("x", rows),), (floats(1),)), config)
    assert request.inputs[0].dims == (4,)
    assert files == {request.inputs[0].data_file: rows[0].tobytes()}


def test_a_warm_up_writes_strings_with_their_lengths(tmp_path: Path) -> None:
    path = save_double(tmp_path / "model.onnx", [2])
    config = derive_config(inspect_onnx(path), "m.v1", 1)
    sample = GoldenSample((to_json_tensor("x", np.array([b"ab", b""], object)),), (floats(1),))
    request, files = warm_up(sample, config)
    assert request.inputs[0].dims == (2,)
    assert list(files.values()) == [b"\x02\x00\x00\x00ab\x00\x00\x00\x00"]
