"""What a model may say of its requests."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.registry.errors import InvalidSchemaError
from controlplane.registry.schemas import check_capabilities, check_parameters, check_schema


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"top_k": {"type": "integer", "default": 5, "min": 1, "max": 100}},
        {"temperature": {"type": "number", "default": 1, "min": 0.0}},
        {"prompt": {"type": "string", "description": "what to write about"}},
        {"strict": {"type": "boolean", "default": False}},
        {"optional": {"type": "integer", "default": None, "min": None}},
    ],
)
def test_parameters_that_hold_together_pass(parameters: dict[str, Any]) -> None:
    check_parameters(parameters)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"x": {}}, "needs a type"),
        ({"x": "integer"}, "needs a type"),
        ({"x": {"type": "tensor"}}, "needs a type"),
        ({"x": {"type": "integer", "maximum": 3}}, "unknown fields: maximum"),
        ({"x": {"type": "integer", "default": True}}, "default of parameter 'x' is no integer"),
        ({"x": {"type": "integer", "default": 1.5}}, "is no integer"),
        ({"x": {"type": "boolean", "default": 1}}, "is no boolean"),
        ({"x": {"type": "integer", "min": 5, "max": 1}}, "min above its max"),
        ({"x": {"type": "integer", "default": 0, "min": 1}}, "lies outside"),
        ({"x": {"type": "string", "min": 1}}, "only numbers"),
        ({"priority": {"type": "integer"}}, "Triton's own"),
        ({"triton_final_response": {"type": "boolean"}}, "Triton's own"),
        ({"a b": {"type": "integer"}}, "no parameter name"),
        ({f"p{index}": {"type": "integer"} for index in range(101)}, "at most 100"),
    ],
)
def test_parameters_that_do_not_are_refused_with_the_reason(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSchemaError, match=reason):
        check_parameters(parameters)


def test_capabilities_are_short_words_each_named_once() -> None:
    check_capabilities(["streaming", "lang:en"])
    for wrong in (["Streaming"], [""], ["a", "a"], ["x" * 51]):
        with pytest.raises(InvalidSchemaError):
            check_capabilities(wrong)


def test_a_schema_describes_an_object_of_bounded_size() -> None:
    check_schema("input_schema", {"type": "object", "properties": {"text": {"type": "string"}}})
    refused: list[dict[str, Any]] = [{"type": "array"}, {"properties": []}, {"description": "x" * 100_001}]
    for wrong in refused:
        with pytest.raises(InvalidSchemaError):
            check_schema("input_schema", wrong)
