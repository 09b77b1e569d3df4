"""Golden samples: a real request with the answer it must get. They prove a deployment, and warm it up."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from model_repository_tools.config.model_config import ModelConfig, WarmUp, WarmUpInput
from model_repository_tools.errors import InvalidTensorError
from model_repository_tools.findings import Finding
from model_repository_tools.tensors import Array, DataType, JsonTensor, from_json_tensor


class Origin(StrEnum):
    """Where the expected outputs come from: the model's author, or a run of onnxruntime here."""

    GIVEN = "given"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a float may be off: `|actual - expected| <= absolute + relative * |expected|`.

    The defaults let a GPU's TF32 arithmetic pass and a wrong model fail. Other types must be equal.
    """

    absolute: float = 1e-4
    relative: float = 1e-3


@dataclass(frozen=True, slots=True)
class GoldenSample:
    """Inputs and the outputs they must give, both in V2 JSON form, as a client of the served model sees them."""

    inputs: tuple[JsonTensor, ...]
    outputs: tuple[JsonTensor, ...]
    tolerance: Tolerance = field(default_factory=Tolerance)
    origin: Origin = Origin.GIVEN

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "tolerance": {"absolute": self.tolerance.absolute, "relative": self.tolerance.relative},
            "origin": self.origin.value,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "GoldenSample":
        """Read a golden sample; `tolerance` and `origin` may be missing.

        Raises:
            InvalidTensorError: It has no inputs, or a tensor in it is malformed.
        """
        try:
            inputs, outputs = tuple(value["inputs"]), tuple(value["outputs"])
            tolerance = Tolerance(**{name: float(limit) for name, limit in value.get("tolerance", {}).items()})
            origin = Origin(value.get("origin", Origin.GIVEN))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidTensorError(
                "a golden sample needs inputs, outputs and a tolerance", code="golden.invalid"
            ) from error
        if not inputs or not outputs:
            raise InvalidTensorError("a golden sample needs at least one input and one output", code="golden.invalid")
        for tensor in (*inputs, *outputs):
            if not isinstance(tensor, Mapping):
                raise InvalidTensorError("a golden sample's tensors must be objects", code="golden.invalid")
            from_json_tensor(tensor)
        return cls(inputs, outputs, tolerance, origin)


def infer_request(sample: GoldenSample) -> dict[str, Any]:
    """Return the body of a V2 infer request that asks for exactly the outputs the sample knows."""
    outputs = [{"name": output["name"], "parameters": {"binary_data": False}} for output in sample.outputs]
    return {"inputs": [dict(tensor) for tensor in sample.inputs], "outputs": outputs}


def compare(
    expected: Iterable[Mapping[str, Any]],
    actual: Iterable[Mapping[str, Any]],
    tolerance: Tolerance | None = None,
) -> list[Finding]:
    """Compare the outputs of an answer with the expected ones; an empty list means: they agree.

    Outputs that are not expected are ignored. NaN equals NaN.
    """
    answers = {str(tensor.get("name")): tensor for tensor in actual}
    findings = []
    for tensor in expected:
        name = str(tensor.get("name"))
        if name not in answers:
            findings.append(_differs("missing", name, "is missing from the answer"))
        else:
            findings += _compare_tensor(name, tensor, answers[name], tolerance or Tolerance())
    return findings


def warm_up(sample: GoldenSample, config: ModelConfig) -> tuple[WarmUp, dict[str, bytes]]:
    """Return a warm-up for config.pbtxt that sends the sample's first row, and the files it names.

    Returns:
        The warm-up, and name -> raw bytes for `FolderRepository.stage(warm_up=...)`.

    Raises:
        InvalidTensorError: An input is malformed.
    """
    inputs, contents = [], {}
    for index, tensor in enumerate(sample.inputs):
        array = from_json_tensor(tensor)
        row = array[:1] if config.max_batch_size else array
        file_name = f"golden-{index}"
        contents[file_name] = _raw(row)
        dims = row.shape[1:] if config.max_batch_size else row.shape
        inputs.append(WarmUpInput(tensor["name"], DataType(tensor["datatype"]), dims, file_name))
    return WarmUp("golden", tuple(inputs)), contents


def _compare_tensor(
    name: str, expected: Mapping[str, Any], actual: Mapping[str, Any], tolerance: Tolerance
) -> list[Finding]:
    for key in ("datatype", "shape"):
        if expected.get(key) != actual.get(key):
            return [_differs(key, name, f"has {key} {actual.get(key)}, expected {expected.get(key)}")]
    try:
        wanted, got = from_json_tensor(expected), from_json_tensor(_without_nulls(actual))
    except InvalidTensorError as error:
        return [_differs("malformed", name, f"is malformed: {error}")]
    if wanted.dtype.kind != "f":
        close = np.asarray(wanted == got)
    else:
        close = np.isclose(got, wanted, rtol=tolerance.relative, atol=tolerance.absolute, equal_nan=True)
    if close.all():
        return []
    return [_differs("values", name, _describe(wanted, got, ~close))]


def _without_nulls(tensor: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read `null` as NaN in float tensors: strict JSON writers have no other form for it."""
    if tensor.get("datatype") not in {"FP32", "FP64"} or not isinstance(tensor.get("data"), list):
        return tensor
    return {**tensor, "data": [float("nan") if element is None else element for element in tensor["data"]]}


def _describe(wanted: Array, got: Array, wrong: Array) -> str:
    first = tuple(int(index[0]) for index in np.nonzero(wrong))
    text = f"differs in {int(wrong.sum())} of {wrong.size} values, first at {list(first)}: {got[first]!s:.40}"
    return f"{text} instead of {wanted[first]!s:.40}"


def _differs(kind: str, name: str, problem: str) -> Finding:
    fix = "check that the sample belongs to this version, or widen its tolerance"
    return Finding(f"golden.{kind}", name, f"output {name} {problem}", fix)


def _raw(array: Array) -> bytes:
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).tobytes()
    return b"".join(struct.pack("<I", len(element)) + element for element in array.ravel())
