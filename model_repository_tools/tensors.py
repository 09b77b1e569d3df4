"""Tensors in the three languages that meet here: Triton's (V2 protocol), NumPy's and ONNX'."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from model_repository_tools.errors import InvalidTensorError

MAX_RANK = 32  # more than NumPy before 2.0 could hold, and far more than any model
_TEXT = object  # NumPy's element type for strings of any length

Array = NDArray[Any]


class DataType(StrEnum):
    """Triton's element types, by their names in the V2 protocol."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"

    @property
    def config_name(self) -> str:
        """The name in config.pbtxt: `TYPE_FP32`. Only BYTES has another one there: `TYPE_STRING`."""
        return "TYPE_STRING" if self is DataType.BYTES else f"TYPE_{self.value}"

    @property
    def has_json_form(self) -> bool:
        """False for FP16 and BF16: the V2 protocol moves them only as raw bytes."""
        return self not in {DataType.FP16, DataType.BF16}

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's element type; BYTES is `object`.

        Raises:
            InvalidTensorError: NumPy has none (BF16).
        """
        if self not in _NUMPY:
            raise InvalidTensorError(f"NumPy has no {self.value}", code="tensor.no_numpy_form")
        return np.dtype(_NUMPY[self])

    @property
    def onnx(self) -> int:
        """The number of `onnx.TensorProto.DataType`."""
        return _ONNX[self]

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> "DataType":
        """Return Triton's type for NumPy's; `object`, `str` and `bytes` are BYTES.

        Raises:
            InvalidTensorError: Triton has none (complex numbers, dates).
        """
        if dtype.kind in "OSU":
            return cls.BYTES
        for data_type, candidate in _NUMPY.items():
            if np.dtype(candidate) == dtype:
                return data_type
        raise InvalidTensorError(f"Triton has no type for NumPy's {dtype}", code="tensor.unknown_type")

    @classmethod
    def from_onnx(cls, element_type: int) -> "DataType | None":
        """Return Triton's type for an `onnx.TensorProto.DataType`; None if Triton has none (complex, float8, int4)."""
        return _FROM_ONNX.get(element_type)


_NUMPY: dict[DataType, type[Any]] = {
    DataType.BOOL: np.bool_,
    DataType.UINT8: np.uint8,
    DataType.UINT16: np.uint16,
    DataType.UINT32: np.uint32,
    DataType.UINT64: np.uint64,
    DataType.INT8: np.int8,
    DataType.INT16: np.int16,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
    DataType.FP16: np.float16,
    DataType.FP32: np.float32,
    DataType.FP64: np.float64,
    DataType.BYTES: _TEXT,
}

_ONNX: dict[DataType, int] = {
    DataType.FP32: 1,
    DataType.UINT8: 2,
    DataType.INT8: 3,
    DataType.UINT16: 4,
    DataType.INT16: 5,
    DataType.INT32: 6,
    DataType.INT64: 7,
    DataType.BYTES: 8,
    DataType.BOOL: 9,
    DataType.FP16: 10,
    DataType.FP64: 11,
    DataType.UINT32: 12,
    DataType.UINT64: 13,
    DataType.BF16: 16,
}
_FROM_ONNX = {number: data_type for data_type, number in _ONNX.items()}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model.

    Attributes:
        shape: As the graph has it, batch included; -1 where the size is free.
        axes: The graph's names of the axes, "" where an axis has none; empty if unknown.
    """

    name: str
    dtype: DataType
    shape: tuple[int, ...]
    axes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold; `datatype` and `shape` are those of the V2 metadata."""
        return {
            "name": self.name,
            "datatype": self.dtype.value,
            "shape": list(self.shape),
            "axes": list(self.axes),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TensorSpec":
        """Undo `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: `value` did not come from `to_dict`.
        """
        shape = tuple(int(size) for size in value["shape"])
        return cls(str(value["name"]), DataType(value["datatype"]), shape, tuple(str(axis) for axis in value["axes"]))


class JsonTensor(TypedDict):
    """A tensor exactly as a V2 infer request or response holds it: `data` is flat and row-major."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


def to_json_tensor(name: str, array: Array) -> JsonTensor:
    """Return `array` as V2 JSON. Not-a-number and infinities stay what they are; Triton writes and reads them too.

    Raises:
        InvalidTensorError: The type has no JSON form, or a BYTES element is not UTF-8.
    """
    data_type = DataType.from_numpy(array.dtype)
    if not data_type.has_json_form:
        raise InvalidTensorError(
            f"{data_type.value} has no JSON form; send it as raw bytes", code="tensor.no_json_form"
        )
    flat = array.ravel().tolist()
    data = [_text(element) for element in flat] if data_type is DataType.BYTES else flat
    return {"name": name, "datatype": data_type.value, "shape": list(array.shape), "data": data}


def from_json_tensor(tensor: Mapping[str, Any]) -> Array:
    """Return the array of a V2 JSON tensor; `data` may be flat or nested.

    Memory is bounded by the data at hand: a shape that promises more is refused before anything is allocated.

    Returns:
        An array of the tensor's shape; BYTES gives an `object` array of `bytes`.

    Raises:
        InvalidTensorError: A field is missing or wrong, or data, shape and type do not fit together.
    """
    data_type, shape = _header(tensor)
    flat = list(_flatten(tensor.get("data"), len(shape)))
    if len(flat) != math.prod(shape):
        raise InvalidTensorError(
            f"{_name(tensor)}: shape {list(shape)} needs {math.prod(shape)} elements, got {len(flat)}"
        )
    if data_type is DataType.BYTES:
        array = np.empty(len(flat), dtype=object)
        array[:] = [_bytes(element, tensor) for element in flat]
        return array.reshape(shape)
    _check_elements(flat, data_type, tensor)
    try:
        return np.array(flat, dtype=data_type.numpy).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise InvalidTensorError(f"{_name(tensor)}: an element does not fit into {data_type.value}") from error


def _header(tensor: Mapping[str, Any]) -> tuple[DataType, tuple[int, ...]]:
    if not isinstance(tensor.get("name"), str):
        raise InvalidTensorError("a tensor needs a name")
    try:
        data_type = DataType(tensor.get("datatype", ""))
    except ValueError as error:
        raise InvalidTensorError(f"{_name(tensor)}: the datatype is not one of {', '.join(DataType)}") from error
    if not data_type.has_json_form:
        raise InvalidTensorError(
            f"{data_type.value} has no JSON form; send it as raw bytes", code="tensor.no_json_form"
        )
    shape = tensor.get("shape")
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) > MAX_RANK:
        raise InvalidTensorError(f"{_name(tensor)}: the shape must be a list of at most {MAX_RANK} sizes")
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
        raise InvalidTensorError(f"{_name(tensor)}: every size in the shape must be a whole number, 0 or more")
    return data_type, tuple(shape)


def _flatten(data: Any, depth: int) -> Iterator[Any]:
    if not isinstance(data, list):
        raise InvalidTensorError("the data of a tensor must be a list")
    for element in data:
        if isinstance(element, list):
            if depth <= 1:
                raise InvalidTensorError("the data of a tensor is nested deeper than its shape")
            yield from _flatten(element, depth - 1)
        else:
            yield element


def _check_elements(flat: list[Any], data_type: DataType, tensor: Mapping[str, Any]) -> None:
    """Refuse what NumPy would convert silently: 1.5 to 1, True to 1, "3" to 3."""
    kind = data_type.numpy.kind
    allowed: tuple[type, ...] = {"b": (bool,), "f": (int, float)}.get(kind, (int,))
    for element in flat:
        if not isinstance(element, allowed) or (isinstance(element, bool) and kind != "b"):
            raise InvalidTensorError(f"{_name(tensor)}: {type(element).__name__} data in a {data_type.value} tensor")


def _name(tensor: Mapping[str, Any]) -> str:
    return ascii(str(tensor["name"])[:100])


def _text(element: object) -> str:
    if not isinstance(element, bytes):
        return str(element)
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidTensorError(
            "a BYTES element is not UTF-8 and has no JSON form", code="tensor.no_json_form"
        ) from error


def _bytes(element: object, tensor: Mapping[str, Any]) -> bytes:
    if not isinstance(element, str):
        raise InvalidTensorError(
            f"{_name(tensor)}: {type(element).__name__} data in a BYTES tensor, strings are needed"
        )
    return element.encode("utf-8", "surrogatepass")
