"""Small ONNX graphs and registered models, made the way users make them: through the library and the services."""

from __future__ import annotations

import io
from typing import Any

import onnx
from onnx import TensorProto, helper

from controlplane.audit.domain import system_actor
from controlplane.registry.domain import VersionState
from controlplane.registry.importing import VersionDraft, import_version
from controlplane.registry.models import ModelVersion, RegisteredModel
from controlplane.registry.services import create_model, move_version, sign_version

ACTOR = system_actor("tests")


def scaling_graph(factor: float = 2.0, columns: int = 4) -> bytes:
    """``y = factor * x`` for x: (batch, columns) float32."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", columns])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def scaling_sample(factor: float = 2.0, columns: int = 4) -> dict[str, Any]:
    """A golden sample of `scaling_graph`."""
    x = [float(column) for column in range(columns)]
    return {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, columns], "data": x}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, columns], "data": [factor * value for value in x]}],
    }


def infer_body(columns: int = 4) -> dict[str, Any]:
    """A V2 request for `scaling_graph`."""
    return {"inputs": scaling_sample(columns=columns)["inputs"]}


def registered_model(slug: str) -> RegisteredModel:
    """A model without versions."""
    return create_model(ACTOR, slug=slug)


def imported_version(
    slug: str, semver: str = "1.0.0", *, factor: float = 2.0, sample_factor: float | None = None
) -> ModelVersion:
    """A validated version of a model, which is made where it does not exist."""
    model = RegisteredModel.objects.filter(slug=slug).first() or registered_model(slug)
    draft = VersionDraft(
        semver=semver,
        files={"model.onnx": io.BytesIO(scaling_graph(factor))},
        golden_samples=[scaling_sample(factor if sample_factor is None else sample_factor)],
    )
    return import_version(ACTOR, model=model, draft=draft)


def declare_published(version: ModelVersion) -> None:
    """Makes a version published as far as the registry knows; no pool has it."""
    sign_version(ACTOR, version=version)
    move_version(version, VersionState.PUBLISHED)
