"""An ONNX file without its weights: what an inspection needs, in memory that does not grow with the model.

A 2 GB model has a graph of some hundred kilobytes. This reads the protobuf wire format from a mapped file and copies
all of it except the payload of tensors, so that only the small rest is ever parsed.
Source: protobuf.dev/programming-guides/encoding, `onnx.proto`.
"""

import codecs
import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto

MAX_SKELETON_BYTES = 256 << 20
MAX_NESTING = 96  # messages; protobuf's own parsers stop at 100

_SMALL_BYTES = 1024
_PAYLOAD_FIELDS = frozenset(
    {"float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data"}
)
_RAW_DATA = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class MalformedModelError(Exception):
    """The file is not an ONNX model. The text says why; `code` is that of the finding."""

    def __init__(self, message: str, code: str = "onnx.not_a_model") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A model with its large weights cut out, and how large they were."""

    model: Any
    dropped_bytes: int


def read_skeleton(path: Path, *, fingerprint: bool = False) -> Skeleton:
    """Read an ONNX file without its weights. Tensors of up to 1 KiB keep their values.

    Args:
        path: The file.
        fingerprint: Put the SHA-256 of what is cut out of a tensor in its place, as `raw_data`.

    Raises:
        MalformedModelError: It is empty, truncated, nested too deeply, its graph is too large, or it is no protobuf.
        OSError: It cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(path)  # opening a pipe would wait for its other end
    if not path.stat().st_size:
        raise MalformedModelError("the file is empty", "onnx.empty")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        cutter = _Cutter(view, fingerprint=fingerprint)
        rest = cutter.cut(0, len(view), ModelProto.DESCRIPTOR, 0)
    model = ModelProto()
    model.ParseFromString(bytes(rest))
    return Skeleton(model, cutter.dropped_bytes)


class _Cutter:
    """Copies one mapped message, leaving out the payload of tensors."""

    def __init__(self, view: memoryview, *, fingerprint: bool = False) -> None:
        self._view = view
        self._fingerprint = fingerprint
        self.dropped_bytes = 0

    def cut(self, start: int, end: int, descriptor: Any, depth: int) -> bytearray:
        if depth > MAX_NESTING:
            raise MalformedModelError(f"the graph is nested deeper than {MAX_NESTING} messages", "onnx.too_deep")
        kept, cut_out = bytearray(), hashlib.sha256()
        position, dropped_before = start, self.dropped_bytes
        while position < end:
            tag, body, after = self._field(position, end)
            field = descriptor.fields_by_number.get(tag >> 3) if tag & 7 == _LENGTH else None
            if field is not None and field.message_type is not None:
                inner = self.cut(body, after, field.message_type, depth + 1)
                kept += _encode(tag) + _encode(len(inner)) + inner
            elif _is_payload(descriptor, field) and after - body > _SMALL_BYTES:
                self.dropped_bytes += after - body
                if self._fingerprint:
                    cut_out.update(_encode(tag))
                    cut_out.update(self._view[body:after])
            else:
                _check_size(len(kept) + after - position)
                if field is not None and field.type == field.TYPE_STRING:
                    self._check_text(body, after)
                kept += self._view[position:after]
            position = after
        if self._fingerprint and self.dropped_bytes > dropped_before and _is_tensor(descriptor):
            kept += _encode(_RAW_DATA << 3 | _LENGTH) + _encode(cut_out.digest_size) + cut_out.digest()
        _check_size(len(kept))
        return kept

    def _check_text(self, body: int, after: int) -> None:
        """Refuse text that is not UTF-8: protobuf would hand it out as bytes."""
        try:
            codecs.utf_8_decode(self._view[body:after], "strict", True)
        except UnicodeDecodeError as error:
            raise MalformedModelError("a name in the file is not UTF-8") from error

    def _field(self, position: int, end: int) -> tuple[int, int, int]:
        """Return the tag of the field at `position`, where its body begins (after a length), and where it ends."""
        tag, body = self._varint(position, end)
        wire_type = tag & 7
        if wire_type == _VARINT:
            after = self._varint(body, end)[1]
        elif wire_type == _LENGTH:
            length, body = self._varint(body, end)
            after = body + length
        elif wire_type in {_FIXED32, _FIXED64}:
            after = body + (4 if wire_type == _FIXED32 else 8)
        else:
            raise MalformedModelError("the file is not protobuf")
        if after > end or tag < 8:
            raise MalformedModelError("the file is truncated, or not protobuf")
        return tag, body, after

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                break
            byte = self._view[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise MalformedModelError("the file is truncated, or not protobuf")


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_SKELETON_BYTES:
        raise MalformedModelError("the graph without its weights is too large", "onnx.graph_too_large")


def _encode(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _is_payload(descriptor: Any, field: Any) -> bool:
    return field is not None and _is_tensor(descriptor) and field.name in _PAYLOAD_FIELDS


def _is_tensor(descriptor: Any) -> bool:
    return bool(descriptor.full_name == TensorProto.DESCRIPTOR.full_name)
