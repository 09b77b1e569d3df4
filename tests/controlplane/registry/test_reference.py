"""Golden samples that ONNX Runtime answers."""

from __future__ import annotations

import io
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from controlplane.registry.importing import VersionDraft, import_version
from controlplane.registry.models import ModelVersion
from tests.support.models import ACTOR, imported_version, registered_model, scaling_graph

pytestmark = pytest.mark.django_db


def imported(graph: bytes) -> ModelVersion:
    draft = VersionDraft("1.0.0", {"model.onnx": io.BytesIO(graph)})
    version = import_version(ACTOR, model=registered_model("digits"), draft=draft)
    version.refresh_from_db()
    return version


def graph_of(*nodes: Any, dtype: int = TensorProto.FLOAT, out: int = TensorProto.FLOAT) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("x", dtype, ["batch", 3])],
            [helper.make_tensor_value_info("y", out, ["batch", 3])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_a_version_without_a_sample_gets_a_reference() -> None:
    version = imported(scaling_graph(factor=3.0))
    sample = version.golden_samples.get()
    assert sample.origin == "reference"
    assert [tensor["shape"] for tensor in sample.inputs] == [[1, 4]]
    assert sample.outputs[0]["data"] == pytest.approx([3.0 * value for value in sample.inputs[0]["data"]])
    assert version.findings == []


def test_a_sample_that_was_given_is_enough() -> None:
    assert [sample.origin for sample in imported_version("digits").golden_samples.all()] == ["given"]


def test_the_same_graph_gets_the_same_reference() -> None:
    first = imported(scaling_graph()).golden_samples.get()
    ModelVersion.objects.update(state="failed", semver="0.9.0")
    draft = VersionDraft("1.0.0", {"model.onnx": io.BytesIO(scaling_graph())})
    second = import_version(ACTOR, model=first.version.model, draft=draft).golden_samples.get()
    assert (second.inputs, second.outputs) == (first.inputs, first.outputs)


def test_a_graph_that_answers_by_chance_gets_none_and_a_warning() -> None:
    noise = helper.make_node("RandomNormalLike", ["x"], ["noise"])
    version = imported(graph_of(noise, helper.make_node("Add", ["x", "noise"], ["y"])))
    assert not version.golden_samples.exists()
    (finding,) = version.findings
    assert (finding["code"], finding["severity"]) == ("golden.no_reference", "warning")
    assert "differ from run to run" in finding["message"]


def test_a_type_without_a_json_form_gets_none_and_a_warning() -> None:
    graph = graph_of(helper.make_node("Abs", ["x"], ["y"]), dtype=TensorProto.FLOAT16, out=TensorProto.FLOAT16)
    version = imported(graph)
    assert [(finding["code"], finding["severity"]) for finding in version.findings] == [
        ("golden.not_generated", "warning")
    ]
    assert version.state == "validated"


@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING, TensorProto.DOUBLE])
def test_every_other_type_gets_one(dtype: int) -> None:
    version = imported(graph_of(helper.make_node("Identity", ["x"], ["y"]), dtype=dtype, out=dtype))
    sample = version.golden_samples.get()
    assert sample.outputs[0]["data"] == sample.inputs[0]["data"]
