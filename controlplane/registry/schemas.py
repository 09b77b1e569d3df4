"""What a model says of its requests: parameters, input and output schema, capabilities. Pure rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from controlplane.registry.errors import InvalidSchemaError

PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
"""Type -> what JSON holds for it; those that a V2 request parameter may have."""

RESERVED = frozenset(
    {
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
        "headers",
        "binary_data_output",
        "binary_data_size",
        "classification",
    }
)
"""Parameters that Triton reads itself; so is every one that begins with ``triton_``.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_parameters.md
"""

MAX_PARAMETERS = 100
MAX_SCHEMA_BYTES = 100_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_CAPABILITY = re.compile(r"[a-z0-9][a-z0-9._:-]{0,49}")
_FIELDS = {"type", "default", "min", "max", "description"}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Lets request parameters pass: name -> ``{type, default?, min?, max?, description?}``.

    Raises:
        InvalidSchemaError: a name is malformed or Triton's own, or a definition does not hold together.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidSchemaError(f"A model has at most {MAX_PARAMETERS} parameters.")
    for name, definition in parameters.items():
        if not _NAME.fullmatch(name):
            raise InvalidSchemaError(f"{name!r} is no parameter name: use letters, digits, '_', '.' and '-'.")
        if name in RESERVED or name.startswith("triton_"):
            raise InvalidSchemaError(f"Parameter {name!r} is Triton's own; choose another name.")
        _check_definition(name, definition)


def check_capabilities(capabilities: list[str]) -> None:
    """Lets capabilities pass: short lower-case words such as ``streaming`` or ``lang:en``, each once.

    Raises:
        InvalidSchemaError: one is malformed or comes twice.
    """
    if len(set(capabilities)) < len(capabilities):
        raise InvalidSchemaError("A capability is named twice.")
    for capability in capabilities:
        if not _CAPABILITY.fullmatch(capability):
            raise InvalidSchemaError(f"{capability!r} is no capability: use up to 50 of a-z, 0-9, '.', '_', ':', '-'.")


def check_schema(what: str, schema: Mapping[str, Any]) -> None:
    """Lets a JSON schema pass as far as its form goes: an object of bounded size, about an object if it says so.

    Raises:
        InvalidSchemaError: it is too large, or describes no object.
    """
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise InvalidSchemaError(f"{what} is larger than {MAX_SCHEMA_BYTES} bytes.")
    if schema.get("type", "object") != "object":
        raise InvalidSchemaError(f"{what} must describe an object: requests and answers are objects.")
    if not isinstance(schema.get("properties", {}), Mapping):
        raise InvalidSchemaError(f"The properties of {what} must be an object.")


def _check_definition(name: str, definition: Any) -> None:
    if not isinstance(definition, Mapping) or definition.get("type") not in PARAMETER_TYPES:
        raise InvalidSchemaError(f"Parameter {name!r} needs a type: {', '.join(PARAMETER_TYPES)}.")
    if unknown := definition.keys() - _FIELDS:
        raise InvalidSchemaError(f"Parameter {name!r} has unknown fields: {', '.join(sorted(unknown))}.")
    kind = definition["type"]
    bounds = {bound: definition[bound] for bound in ("min", "max") if definition.get(bound) is not None}
    if bounds and kind not in {"integer", "number"}:
        raise InvalidSchemaError(f"Parameter {name!r} is a {kind}; only numbers have min and max.")
    given = bounds | ({"default": definition["default"]} if definition.get("default") is not None else {})
    for field, value in given.items():
        if not _is_of(kind, value):
            raise InvalidSchemaError(f"The {field} of parameter {name!r} is no {kind}.")
    low, high = bounds.get("min"), bounds.get("max")
    if low is not None and high is not None and low > high:
        raise InvalidSchemaError(f"Parameter {name!r} has a min above its max.")
    default = given.get("default")
    if default is not None and bounds and not (low is None or low <= default) & (high is None or default <= high):
        raise InvalidSchemaError(f"The default of parameter {name!r} lies outside its min and max.")


def _is_of(kind: str, value: Any) -> bool:
    # In Python a bool is an int; in JSON it is not.
    return isinstance(value, PARAMETER_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
