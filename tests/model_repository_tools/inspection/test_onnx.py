import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from model_repository_tools.findings import Severity
from model_repository_tools.inspection import OnnxInspection, OperatorCount, OperatorSet, inspect_onnx
from model_repository_tools.tensors import DataType, TensorSpec
from tests.model_repository_tools.graphs import change, save_double, save_model, tensor

BUNDLED = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


def codes(inspection: OnnxInspection) -> list[str]:
    return [finding.code for finding in inspection.findings]


def test_a_sound_model_is_described(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx", ["batch", None, 4])
    inspection = inspect_onnx(path)
    assert inspection.inputs == (TensorSpec("x", DataType.FP32, (-1, -1, 4), ("batch", "", "")),)
    assert inspection.outputs == (TensorSpec("y", DataType.FP32, (-1, -1, 4), ("batch", "", "")),)
    assert inspection.opsets == (OperatorSet("", 17),)
    assert (inspection.opset, inspection.ir_version, inspection.producer) == (17, 8, "tests")
    assert inspection.operators == (OperatorCount("", "Add", 1),)
    assert inspection.size_bytes == path.stat().st_size
    assert inspection.findings == ()
    assert inspection.is_servable


def test_an_inspection_survives_json(tmp_path: Path) -> None:
    inspection = inspect_onnx(change(save_double(tmp_path / "m.onnx", ["b", 0]), producer_version="1"))
    assert inspection.findings
    assert OnnxInspection.from_dict(inspection.to_dict()) == inspection


def test_inputs_with_a_default_are_not_asked_of_the_client(tmp_path: Path) -> None:
    path = save_model(
        tmp_path / "m.onnx",
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [tensor("x", ["b", 1]), tensor("w", [1])],
        [tensor("y", ["b", 1])],
        initializer=[numpy_helper.from_array(np.ones(1, np.float32), "w")],
    )
    assert [spec.name for spec in inspect_onnx(path).inputs] == ["x"]


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_real_models_are_read_like_onnx_itself_reads_them(path: Path) -> None:
    model = onnx.load(path)
    inspection = inspect_onnx(path)
    assert inspection.findings == ()
    assert {(o.domain, o.op_type): o.count for o in inspection.operators} == Counter(
        (node.domain, node.op_type) for node in model.graph.node
    )
    assert [spec.name for spec in inspection.outputs] == [output.name for output in model.graph.output]


def value_info(name: str, type_proto: Any) -> Any:
    return helper.make_value_info(name, type_proto)


ZIPMAP = helper.make_sequence_type_proto(
    helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
)
FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, ["b"])


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (value_info("y", ZIPMAP), "onnx.zipmap_output"),
        (value_info("y", helper.make_sequence_type_proto(FLOATS)), "onnx.not_a_tensor"),
        (value_info("y", helper.make_optional_type_proto(FLOATS)), "onnx.not_a_tensor"),
        (value_info("y", helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [2])), "onnx.not_a_tensor"),
        (value_info("y", onnx.TypeProto()), "onnx.not_a_tensor"),
        (tensor("y", ["b"], TensorProto.COMPLEX64), "onnx.unsupported_type"),
        (tensor("y", ["b"], TensorProto.FLOAT8E4M3FN), "onnx.unsupported_type"),
        (value_info("y", helper.make_tensor_type_proto(TensorProto.FLOAT, None)), "onnx.unknown_rank"),
        (tensor("y", ["b", 0]), "onnx.bad_shape"),
        (tensor("y", ["b", -2]), "onnx.bad_shape"),
        (tensor("y", ["b", 1 << 31]), "onnx.bad_shape"),
        (tensor("y", [9223372036854775807, 64]), "onnx.bad_shape"),
        (tensor("y", ["b"] * 33), "onnx.bad_shape"),
        (tensor("", ["b"]), "onnx.bad_name"),
        (tensor("y\x1b[2J", ["b"]), "onnx.bad_name"),
        (tensor("y" * 201, ["b"]), "onnx.bad_name"),
        (tensor("x", ["b"]), "onnx.duplicate_name"),
    ],
)
def test_what_triton_cannot_pass_is_a_finding_with_a_way_out(tmp_path: Path, output: Any, code: str) -> None:
    path = save_model(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [tensor("x", ["b"])], [output])
    inspection = inspect_onnx(path)
    assert codes(inspection) == [code]
    assert all(finding.fix for finding in inspection.findings)
    assert not inspection.is_servable


def test_operators_without_an_implementation_are_a_finding(tmp_path: Path) -> None:
    node = helper.make_node("Steal", ["x"], ["y"], domain="evil.example")
    path = save_model(tmp_path / "m.onnx", [node], [tensor("x", [1])], [tensor("y", [1])])
    inspection = inspect_onnx(path)
    assert codes(inspection) == ["onnx.custom_operators"]
    assert inspection.custom_domains == ("evil.example",)


def test_custom_operators_inside_subgraphs_are_found(tmp_path: Path) -> None:
    branch = helper.make_graph([helper.make_node("Steal", [], ["c"], domain="evil")], "branch", [], [tensor("c", [1])])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    path = save_model(tmp_path / "m.onnx", [node], [tensor("x", [1], TensorProto.BOOL)], [tensor("y", [1])])
    inspection = inspect_onnx(path)
    assert inspection.operators == (OperatorCount("", "If", 1), OperatorCount("evil", "Steal", 2))
    assert codes(inspection) == ["onnx.custom_operators"]


def test_functions_that_the_model_brings_along_are_no_custom_operators(tmp_path: Path) -> None:
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opset)
    node = helper.make_node("Twice", ["x"], ["y"], domain="mine")
    path = save_model(tmp_path / "m.onnx", [node], [tensor("x", [1])], [tensor("y", [1])])
    model = onnx.load(path)
    model.functions.append(function)
    path.write_bytes(model.SerializeToString())
    inspection = inspect_onnx(path)
    assert inspection.findings == ()
    assert inspection.operators == (OperatorCount("", "Add", 1),)


def test_an_opset_newer_than_known_is_a_warning(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.opset_import[0].version = 1000
    path.write_bytes(model.SerializeToString())
    inspection = inspect_onnx(path)
    assert [(finding.code, finding.severity) for finding in inspection.findings] == [
        ("onnx.opset_too_new", Severity.WARNING)
    ]
    assert inspection.is_servable


@pytest.mark.parametrize("content", [b"", b"hello", os.urandom(500), b'{"not": "onnx"}', b"PK\x03\x04"])
def test_a_file_that_is_no_model_is_a_finding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    inspection = inspect_onnx(tmp_path / "m.onnx")
    assert len(inspection.findings) == 1
    assert not inspection.is_servable


def test_a_model_without_a_graph_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    assert codes(inspect_onnx(tmp_path / "m.onnx")) == ["onnx.no_graph"]


def test_a_file_over_the_limit_is_not_opened(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    assert codes(inspect_onnx(path, max_size_bytes=10)) == ["onnx.too_large"]


def test_a_missing_file_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect_onnx(tmp_path / "m.onnx")


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_model_never_raises(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "damaged.onnx"
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["c"])], "branch", [], [tensor("c", [1])])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    save_model(path, [node], [tensor("x", ["b"])], [tensor("y", ["b", 2])], initializer=[weights])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    inspection = inspect_onnx(path)
    assert OnnxInspection.from_dict(inspection.to_dict()) == inspection


def save_external(folder: Path, **entries: str) -> Path:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        weights.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    return save_model(folder / "m.onnx", nodes, [tensor("x", [2])], [tensor("y", [2])], initializer=[weights])


def test_weights_beside_the_model_are_named_and_counted(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    inspection = inspect_onnx(save_external(tmp_path, location="w.bin", offset="8", length="8"))
    assert inspection.external_files == ("w.bin",)
    assert inspection.weight_bytes == 16
    assert inspection.findings == ()


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"location": "../w.bin"}, "onnx.external_data_escapes"),
        ({"location": "/etc/passwd"}, "onnx.external_data_escapes"),
        ({"location": "a/../../w.bin"}, "onnx.external_data_escapes"),
        ({"location": "link.bin"}, "onnx.external_data_escapes"),
        ({"location": "folder/hostname"}, "onnx.external_data_escapes"),
        ({"location": ""}, "onnx.external_data_escapes"),
        ({}, "onnx.external_data_escapes"),
        ({"location": "no.bin"}, "onnx.external_data_missing"),
        ({"location": "w.bin", "offset": "9", "length": "8"}, "onnx.external_data_short"),
        ({"location": "w.bin", "offset": "-1"}, "onnx.external_data_short"),
        ({"location": "w.bin", "length": "9" * 5000}, "onnx.external_data_short"),
    ],
)
def test_weights_outside_the_folder_or_missing_are_findings(tmp_path: Path, entries: dict[str, str], code: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (tmp_path / "link.bin").symlink_to("/etc/hostname")
    (tmp_path / "folder").symlink_to("/etc")
    inspection = inspect_onnx(save_external(tmp_path, **entries))
    assert codes(inspection) == [code]
    assert inspection.external_files == ()


def test_external_weights_hidden_in_an_attribute_are_found(tmp_path: Path) -> None:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="/etc/passwd")
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=weights)], "b", [], [tensor("c", [2])])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    path = save_model(tmp_path / "m.onnx", [node], [tensor("x", [], TensorProto.BOOL)], [tensor("y", [2])])
    assert codes(inspect_onnx(path)) == ["onnx.external_data_escapes"]
