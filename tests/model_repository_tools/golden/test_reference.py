from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_repository_tools.config import derive_config
from model_repository_tools.golden import GoldenSample, Origin, ReferenceResult, compare, reference_sample
from model_repository_tools.golden import reference_outputs as run_here
from model_repository_tools.inspection import inspect_onnx
from model_repository_tools.sandbox import Limits
from model_repository_tools.tensors import to_json_tensor
from tests.model_repository_tools.graphs import save_double, save_model, tensor


def reference(path: Path) -> ReferenceResult:
    return reference_sample(path, inspect_onnx(path))


def sample_of(result: ReferenceResult) -> GoldenSample:
    assert result.sample is not None, result.findings
    return result.sample


def test_a_sample_is_made_up_and_answered(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    sample = sample_of(reference(path))
    assert sample.origin is Origin.REFERENCE
    assert sample.inputs[0]["shape"] == [1, 4]
    assert sample.outputs[0]["data"] == pytest.approx([2 * value for value in sample.inputs[0]["data"]])
    assert compare(sample.outputs, run_here(path, sample.inputs)) == []
    assert sample_of(reference(path)) == sample


def test_inputs_that_are_given_are_used(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    given = to_json_tensor("x", np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32))
    sample = sample_of(reference_sample(path, inspect_onnx(path), inputs=[given]))
    assert sample.outputs[0]["data"] == [2, 4, 6, 8, 10, 12, 14, 16]


def test_a_client_sees_scalars_as_triton_sends_them(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx", dims=("batch",))
    inspection = inspect_onnx(path)
    config = derive_config(inspection, "m.v1", 1)
    sample = sample_of(reference_sample(path, inspection, config))
    assert [sample.inputs[0]["shape"], sample.outputs[0]["shape"]] == [[1, 1], [1, 1]]


def test_free_sizes_are_tried_until_the_model_takes_one(tmp_path: Path) -> None:
    kernel = numpy_helper.from_array(np.ones((1, 1, 20, 20), np.float32), "k")
    node = helper.make_node("Conv", ["x", "k"], ["y"])
    dims = ("b", 1, "h", "w")
    path = save_model(
        tmp_path / "m.onnx", [node], [tensor("x", dims)], [tensor("y", ("b", 1, "p", "q"))], initializer=[kernel]
    )
    assert sample_of(reference(path)).inputs[0]["shape"] == [1, 1, 32, 32]


def test_a_model_that_answers_differently_each_time_is_a_finding(tmp_path: Path) -> None:
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["y"])]
    path = save_model(tmp_path / "m.onnx", nodes, [tensor("x", ["b", 4])], [tensor("y", ["b", 4])])
    assert [finding.code for finding in reference(path).findings] == ["golden.not_repeatable"]


def test_a_model_with_errors_is_not_run(tmp_path: Path) -> None:
    node = helper.make_node("Evil", ["x"], ["y"], domain="evil")
    path = save_model(tmp_path / "m.onnx", [node], [tensor("x", [1])], [tensor("y", [1])])
    result = reference(path)
    assert (result.sample, [finding.code for finding in result.findings]) == (None, ["reference.not_run"])


def test_what_cannot_be_made_up_asks_for_a_sample(tmp_path: Path) -> None:
    half = TensorProto.FLOAT16
    node = helper.make_node("Identity", ["x"], ["y"])
    path = save_model(tmp_path / "m.onnx", [node], [tensor("x", [1, 4], half)], [tensor("y", [1, 4], half)])
    finding = reference(path).findings[0]
    assert finding.code == "golden.not_generated"
    assert "golden sample" in finding.fix


def test_what_onnxruntime_refuses_is_a_finding_without_paths(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].input[0] = "nowhere"
    path.write_bytes(model.SerializeToString())
    result = reference(path)
    assert result.findings[0].code == "reference.failed"
    assert str(tmp_path) not in result.findings[0].message


def test_a_model_that_eats_memory_is_stopped_in_the_child(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1 << 36], np.int64), "s")
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["z"]), helper.make_node("ReduceSum", ["z"], ["y"])]
    path = save_model(tmp_path / "m.onnx", nodes, [tensor("x", [1])], [tensor("y", [1])], initializer=[shape])
    result = reference(path)
    assert result.sample is None
    assert result.findings[0].code.startswith("reference.")


def test_a_model_that_never_ends_is_stopped(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [tensor("i", [], TensorProto.INT64), tensor("c", [], TensorProto.BOOL), tensor("v", [1])],
        [tensor("d", [], TensorProto.BOOL), tensor("w", [1])],
    )
    true = numpy_helper.from_array(np.array(True), "t")
    loop = helper.make_node("Loop", ["", "t", "x"], ["y"], body=body)
    path = save_model(tmp_path / "m.onnx", [loop], [tensor("x", [1])], [tensor("y", [1])], initializer=[true])
    result = reference_sample(path, inspect_onnx(path), limits=Limits(memory_bytes=2 << 30, cpu_s=3))
    assert [finding.code for finding in result.findings] == ["reference.cpu_limit"]
    assert replace(result, sample=None) == result
