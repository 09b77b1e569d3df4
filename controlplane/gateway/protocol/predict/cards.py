"""What the simple API says of models."""

from __future__ import annotations

from typing import Any

from controlplane.wire.snapshot import ModelEntry, TensorSpec, VersionRoute, decode_card

_JSON_TYPES = {
    "BYTES": "string",
    "BOOL": "boolean",
    "FP16": "number",
    "BF16": "number",
    "FP32": "number",
    "FP64": "number",
}


def card_of(model: ModelEntry, version: VersionRoute) -> dict[str, Any]:
    """``GET /v1/models/{id}``."""
    card = decode_card(model.card)
    return {
        "id": model.slug,
        "version": version.semver,
        "title": card.title or model.slug,
        "description": card.description,
        "framework": card.framework,
        "task": card.task,
        "tags": list(card.tags),
        "input_schema": card.input_schema or _schema(version.inputs),
        "output_schema": card.output_schema or _schema(version.outputs),
        "parameters": card.parameters,
        "versions": _versions(model),
        "created_at": card.created_at,
        "updated_at": card.updated_at,
    }


def summary_of(model: ModelEntry) -> dict[str, Any]:
    """A model in ``GET /v1/models``."""
    card = decode_card(model.card)
    default = model.versions.get(model.default_version) if model.default_version is not None else None
    return {
        "id": model.slug,
        "version": default.semver if default is not None else None,
        "title": card.title or model.slug,
        "framework": card.framework,
        "task": card.task,
        "tags": list(card.tags),
        "versions": _versions(model),
    }


def _versions(model: ModelEntry) -> list[str]:
    return [version.semver for _, version in sorted(model.versions.items())]


def _schema(specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    """The tensors as an object of fields, each a list of rows."""
    return {
        "type": "object",
        "properties": {
            spec.name: {
                "type": "array",
                "items": {"type": _JSON_TYPES.get(spec.datatype, "integer")},
                "datatype": spec.datatype,
                "shape": list(spec.shape),
            }
            for spec in specs
        },
        "required": [spec.name for spec in specs],
    }
