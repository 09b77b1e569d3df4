from typing import Any

import pytest

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.protocol.predict.values import outputs_of, tensors_of
from controlplane.wire.snapshot import TensorSpec, VersionRoute


def _version(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), batched: bool = True) -> VersionRoute:
    return VersionRoute(1, "1.0.0", "m.v1", (1,), batched, inputs, outputs)


@pytest.mark.parametrize(
    ("value", "declared", "batched", "shape"),
    [
        ([[1, 2], [3, 4]], (-1, 2), True, [2, 2]),
        ([1, 2, 3], (-1, 1), True, [3, 1]),
        ([1, 2, 3], (-1,), True, [3]),
        ([1, 2], (-1, 2), True, [1, 2]),
        ([[1, 2, 3, 4]], (-1, 2, 2), True, [1, 2, 2]),
        ([[1, 2, 3, 4]], (-1, -1, 2), True, [1, 2, 2]),
        (7, (-1, 1), True, [1, 1]),
        (7, (1,), False, [1]),
        ([1, 2, 3, 4], (2, 2), False, [2, 2]),
        (7, (), False, []),
    ],
)
def test_rows_take_the_shape_that_the_model_declares(
    value: Any, declared: tuple[int, ...], batched: bool, shape: list[int]
) -> None:
    [tensor] = tensors_of({"x": value}, _version(TensorSpec("x", "FP32", declared), batched=batched))

    assert tensor["shape"] == shape


@pytest.mark.parametrize(
    ("value", "declared"),
    [([[1, 2, 3]], (-1, 2)), ([1, 2, 3], (-1, 2)), ([[]], (-1, 2)), ([1], (-1, 0))],
)
def test_what_cannot_take_it_is_refused(value: Any, declared: tuple[int, ...]) -> None:
    with pytest.raises(RefusedError):
        tensors_of({"x": value}, _version(TensorSpec("x", "FP32", declared)))


@pytest.mark.parametrize(
    ("datatype", "good", "bad"),
    [
        ("UINT8", [0, 255], [256]),
        ("INT8", [-128, 127], [-129]),
        ("INT64", [2**63 - 1], [2**63]),
        ("UINT64", [2**64 - 1], [-1]),
        ("INT32", [5], [5.0]),
        ("BOOL", [True], [1]),
        ("FP64", [1, 1.5], [True]),
        ("BYTES", ["a"], [b"a".decode(), 1]),
    ],
)
def test_values_are_held_against_the_type(datatype: str, good: list[Any], bad: list[Any]) -> None:
    version = _version(TensorSpec("x", datatype, (-1,)))
    assert tensors_of(good, version)[0]["data"] == good
    with pytest.raises(RefusedError):
        tensors_of(bad, version)


def test_types_without_a_form_in_json_are_refused() -> None:
    with pytest.raises(RefusedError, match="no form in JSON"):
        tensors_of([1], _version(TensorSpec("x", "FP16", (-1,))))


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(RefusedError, match="deeper"):
        tensors_of([value], _version(TensorSpec("x", "FP32", (-1, 1))))


@pytest.mark.parametrize(
    ("shape", "declared", "data", "rows"),
    [
        ([2, 2], (-1, 2), [1, 2, 3, 4], [[1, 2], [3, 4]]),
        ([3, 1], (-1, 1), [1, 2, 3], [1, 2, 3]),
        ([3], (-1,), [1, 2, 3], [1, 2, 3]),
        ([1, 2, 2], (-1, 2, 2), [1, 2, 3, 4], [[[1, 2], [3, 4]]]),
        ([2, 0], (-1, -1), [], [[], []]),
        ([], (), [7], 7),
    ],
)
def test_answers_are_nested_as_their_shape_says(
    shape: list[int], declared: tuple[int, ...], data: list[Any], rows: Any
) -> None:
    output = {"name": "y", "datatype": "FP32", "shape": shape, "data": data}

    assert outputs_of([output], _version(outputs=(TensorSpec("y", "FP32", declared),))) == rows


def test_several_outputs_come_back_by_name() -> None:
    outputs = [{"name": name, "datatype": "INT64", "shape": [1], "data": [1]} for name in ("a", "b")]

    assert outputs_of(outputs, _version()) == {"a": [1], "b": [1]}
