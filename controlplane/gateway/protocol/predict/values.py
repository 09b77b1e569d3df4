"""From the nested lists that people write to Triton's tensors, and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import prod
from typing import Any

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.shield import MAX_RANK
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import TensorSpec, VersionRoute
from controlplane.wire.usage import Cause

_INTEGER_BITS = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "UINT8": 8, "UINT16": 16, "UINT32": 32, "UINT64": 64}
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "BYTES": ((str,), "texts"),
    "BOOL": ((bool,), "true or false"),
    "FP32": ((int, float), "numbers"),
    "FP64": ((int, float), "numbers"),
    **dict.fromkeys(_INTEGER_BITS, ((int,), "whole numbers")),
}


def invalid_field(field: str, issue: str) -> RefusedError:
    """A request whose form is right and whose contents are not."""
    return RefusedError(
        f"The request was invalid: {field}: {issue}",
        kind=ErrorKind.INVALID,
        code="predict.invalid",
        cause=Cause.REQUEST,
        details={"field": field, "issue": issue},
    )


def tensors_of(inputs: Any, version: VersionRoute) -> list[dict[str, Any]]:
    """The inputs of a V2 request.

    Args:
        inputs: a list, which is the rows of a model's only input, or an object with a field for each input.

    Raises:
        RefusedError: it does not fit what the version takes; `details` names the field.
    """
    known = {spec.name: spec for spec in version.inputs}
    if not known:
        raise RefusedError(
            "The inputs of this version are not known here; use /v2",
            kind=ErrorKind.UNSUPPORTED,
            code="predict.no_schema",
            cause=Cause.REQUEST,
        )
    if isinstance(inputs, list):
        if len(known) != 1:
            raise invalid_field("inputs", f"the model has the inputs {', '.join(known)}: send an object of fields")
        inputs = {next(iter(known)): inputs}
    if not isinstance(inputs, dict):
        raise invalid_field("inputs", "is a list of rows or an object of named fields")
    for name in inputs:
        if name not in known:
            raise invalid_field(f"inputs.{name}", f"is no input of the model; it has {', '.join(known)}")
    for name in known:
        if name not in inputs:
            raise invalid_field(f"inputs.{name}", "is missing")
    return [_tensor(known[name], value, version.batched) for name, value in inputs.items()]


def _tensor(spec: TensorSpec, value: Any, batched: bool) -> dict[str, Any]:
    field = f"inputs.{spec.name}"
    shape, flat = _flatten(value, field)
    _check_values(spec.datatype, flat, field)
    fitted = _fit(shape, spec.shape, batched)
    if fitted is None:
        raise invalid_field(field, f"has the shape {list(shape)}, the model takes {list(spec.shape)}")
    return {"name": spec.name, "datatype": spec.datatype, "shape": fitted, "data": flat}


def _flatten(value: Any, field: str) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists, and their values one after the other."""
    shape: list[int] = []
    flat = [value]
    while flat and isinstance(flat[0], list):
        size = len(flat[0])
        if len(shape) == MAX_RANK:
            raise invalid_field(field, f"is nested deeper than {MAX_RANK} levels")
        if any(not isinstance(item, list) or len(item) != size for item in flat):
            raise invalid_field(field, "has rows of different lengths")
        shape.append(size)
        flat = [element for item in flat for element in item]
    if not flat:
        raise invalid_field(field, "is empty")
    return tuple(shape), flat


def _check_values(datatype: str, flat: list[Any], field: str) -> None:
    if datatype not in _KINDS:
        raise invalid_field(field, f"is of type {datatype}, which has no form in JSON: use /v2 with binary tensors")
    kinds, words = _KINDS[datatype]
    if not set(map(type, flat)) <= set(kinds):
        raise invalid_field(field, f"takes {words}")
    if bits := _INTEGER_BITS.get(datatype):
        signed = not datatype.startswith("U")
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if min(flat) < low or max(flat) > high:
            raise invalid_field(field, f"takes whole numbers from {low} to {high}")


def _fit(shape: tuple[int, ...], declared: tuple[int, ...], batched: bool) -> list[int] | None:
    """The shape to announce: as it is, as rows whose dimensions were left out, or as one row; None if nothing fits."""
    if _matches(shape, declared):
        return list(shape)
    count = prod(shape)
    if not batched:
        return _fill(count, declared)
    rows = shape[0] if shape else 1
    if count % rows == 0 and (rest := _fill(count // rows, declared[1:])) is not None:
        return [rows, *rest]
    return [1, *shape] if _matches(shape, declared[1:]) else None


def _matches(shape: Sequence[int], declared: Sequence[int]) -> bool:
    return len(shape) == len(declared) and all(want in {-1, have} for have, want in zip(shape, declared, strict=True))


def _fill(count: int, declared: Sequence[int]) -> list[int] | None:
    """A shape of so many values with at most one free dimension filled in."""
    fixed = prod(dimension for dimension in declared if dimension >= 0)
    free = sum(dimension < 0 for dimension in declared)
    if free > 1 or fixed == 0 or count % fixed or (not free and count != fixed):
        return None
    return [count // fixed if dimension < 0 else dimension for dimension in declared]


def outputs_of(outputs: list[dict[str, Any]], version: VersionRoute) -> Any:
    """What a V2 answer says, as people read it: the rows of the only output, or an object of named outputs.

    A row of one value is that value.
    """
    named = {output["name"]: _rows(output, version) for output in outputs}
    return next(iter(named.values())) if len(named) == 1 else named


def _rows(output: dict[str, Any], version: VersionRoute) -> Any:
    shape = list(output["shape"])
    declared = next((spec.shape for spec in version.outputs if spec.name == output["name"]), ())
    while len(shape) > 1 and shape[-1] == 1 and (not declared or declared[-1] == 1 or len(declared) != len(shape)):
        shape.pop()
        declared = declared[:-1]
    return _nest(output["data"], shape)


def _nest(flat: list[Any], shape: list[int]) -> Any:
    for size in reversed(shape[1:]):
        if size == 0:
            return [[] for _ in range(shape[0])]
        values = iter(flat)
        flat = [list(islice(values, size)) for _ in range(len(flat) // size)]
    return flat if shape else flat[0]
