"""The parameters of a prediction, held against what the model declares."""

from __future__ import annotations

from typing import Any

from controlplane.gateway.protocol.predict.values import invalid_field

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "integer": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "number": ((int, float), "a number"),
    "string": ((str,), "a text"),
    "boolean": ((bool,), "true or false"),
}
_RESERVED = frozenset({"binary_data_output", "headers", "sequence_id", "sequence_start", "sequence_end"})
_RESERVED_PREFIXES = ("triton_", "shared_memory_")


def checked_parameters(given: Any, declared: dict[str, Any]) -> dict[str, Any]:
    """The parameters to pass on: those given, and the defaults of those left out.

    Args:
        declared: name -> ``{"type", "default", "min", "max", "choices"}``.

    Raises:
        RefusedError: one is not declared, not of its type or out of its range; `details` names the field.
    """
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise invalid_field("parameters", "is an object")
    for name, value in given.items():
        if name not in declared or name in _RESERVED or name.startswith(_RESERVED_PREFIXES):
            allowed = ", ".join(declared) or "none"
            raise invalid_field(name, f"is no parameter of this model; it has {allowed}")
        _check(name, value, declared[name])
    defaults = {
        name: rule["default"]
        for name, rule in declared.items()
        if isinstance(rule, dict) and rule.get("default") is not None
    }
    return {**defaults, **given}


def _check(name: str, value: Any, rule: Any) -> None:
    if not isinstance(rule, dict):
        return
    types, words = _TYPES.get(str(rule.get("type")), ((int, float, str, bool), "a number, a text, true or false"))
    if type(value) not in types:
        raise invalid_field(name, f"Value must be {words}")
    low, high = rule.get("min"), rule.get("max")
    if isinstance(value, int | float) and not isinstance(value, bool):
        too_low, too_high = low is not None and value < low, high is not None and value > high
        if too_low or too_high:
            raise invalid_field(name, _range(low, high))
    choices = rule.get("choices")
    if isinstance(choices, list) and value not in choices:
        raise invalid_field(name, f"Value must be one of {', '.join(map(str, choices))}")


def _range(low: Any, high: Any) -> str:
    if low is None:
        return f"Value must be at most {high}"
    return f"Value must be at least {low}" if high is None else f"Value must be between {low} and {high}"
