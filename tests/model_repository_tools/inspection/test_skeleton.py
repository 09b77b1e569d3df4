from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from model_repository_tools.inspection.skeleton import MalformedModelError, read_skeleton
from tests.model_repository_tools.graphs import field, save_model, tensor, varint


def test_large_weights_are_cut_out_and_small_ones_kept(tmp_path: Path) -> None:
    large, small = np.ones((1000, 4), np.float32), np.array([1, 2], np.int64)
    path = save_model(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "large"], ["y"])],
        [tensor("x", ["b", 1000])],
        [tensor("y", ["b", 4])],
        initializer=[numpy_helper.from_array(large, "large"), numpy_helper.from_array(small, "small")],
    )
    skeleton = read_skeleton(path)
    assert skeleton.dropped_bytes == large.nbytes
    first, second = skeleton.model.graph.initializer
    assert (first.name, list(first.dims), first.raw_data) == ("large", [1000, 4], b"")
    assert numpy_helper.to_array(second).tolist() == [1, 2]


def test_weights_in_subgraphs_and_attributes_are_cut_out_too(tmp_path: Path) -> None:
    value = numpy_helper.from_array(np.ones(1000, np.float32), "w")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=value)], "branch", [], [tensor("c", [1000])]
    )
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    path = save_model(tmp_path / "m.onnx", [node], [tensor("x", [], onnx.TensorProto.BOOL)], [tensor("y", [1000])])
    skeleton = read_skeleton(path)
    assert skeleton.dropped_bytes == 8000
    assert skeleton.model.graph.node[0].attribute[0].g.node[0].attribute[0].t.name == "w"


def test_a_model_without_large_weights_is_read_whole(tmp_path: Path) -> None:
    path = save_model(
        tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [tensor("x", [2])], [tensor("y", [2])]
    )
    assert read_skeleton(path).model == onnx.load(path)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "onnx.empty"),
        (b"\x80", "onnx.not_a_model"),
        (b"\x80" * 20, "onnx.not_a_model"),
        (b"\x00\x00", "onnx.not_a_model"),
        (b"\x0b\x0c", "onnx.not_a_model"),
        (varint(7 << 3 | 2) + varint(1 << 62), "onnx.not_a_model"),
        (varint(7 << 3 | 2) + b"\x05abc", "onnx.not_a_model"),
        (b"\x0d\x00", "onnx.not_a_model"),
    ],
)
def test_what_is_not_protobuf_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(MalformedModelError) as caught:
        read_skeleton(tmp_path / "m.onnx")
    assert caught.value.code == code


def test_nesting_is_bounded(tmp_path: Path) -> None:
    graph = b""
    for _ in range(40):  # graph.node.attribute.g
        graph = field(1, field(5, field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(field(7, graph))
    with pytest.raises(MalformedModelError) as caught:
        read_skeleton(tmp_path / "m.onnx")
    assert caught.value.code == "onnx.too_deep"
