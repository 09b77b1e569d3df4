"""The envelope of a gRPC inference request, read from its bytes without decoding a tensor.

protobuf takes the last value of a field that occurs more than once, so a name is changed by appending it; nobody can
choose another one after the check.

Source: protobuf's encoding (protobuf.dev/programming-guides/encoding) and Triton's grpc_service.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.shield import check_parameter

MAX_FIELDS = 16_384
"""Fields that are looked at in one message; no real request has more inputs, outputs and parameters than this."""

_SIGN_BIT = 2**63
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

# ModelInferRequest
_MODEL_NAME, _MODEL_VERSION, _PARAMETERS, _INPUTS, _OUTPUTS, _RAW_INPUTS = 1, 2, 4, 5, 6, 7
# InferInputTensor, InferRequestedOutputTensor, and an entry of a map
_INPUT_SHAPE, _INPUT_PARAMETERS, _OUTPUT_NAME, _OUTPUT_PARAMETERS, _MAP_KEY = 3, 4, 1, 2, 1
_CLASSIFICATION = "classification"

# ModelConfigResponse and ModelConfig
_CONFIG, _CONFIG_NAME = 1, 1


class InferEnvelope(NamedTuple):
    """What the gateway needs to know of a request.

    Attributes:
        rows: first dimension of the first input, 1 where it has none.
        outputs: names of the outputs asked for.
        classified: those of them that are wanted as classes.
    """

    model: str
    version: str
    rows: int
    outputs: tuple[str, ...] = ()
    classified: tuple[str, ...] = ()


class _Field(NamedTuple):
    number: int
    start: int
    end: int


def read_envelope(message: bytes) -> InferEnvelope:
    """Reads and checks a ModelInferRequest.

    Raises:
        RefusedError: it is no protobuf, or asks for what no client may have.
    """
    try:
        return _read(message)
    except (IndexError, UnicodeDecodeError):
        raise refusals.invalid("The request is not a ModelInferRequest", "request.malformed") from None


def _read(message: bytes) -> InferEnvelope:
    model = version = ""
    rows: int | None = None
    outputs: list[str] = []
    classified: list[str] = []
    for number, start, end in _fields(message, 0, len(message)):
        if number == _RAW_INPUTS:
            continue
        if number == _INPUTS:
            first = _read_input(message, start, end)
            rows = first if rows is None else rows
        elif number == _MODEL_NAME:
            model = message[start:end].decode()
        elif number == _MODEL_VERSION:
            version = message[start:end].decode()
        elif number == _PARAMETERS:
            _check_entry(message, start, end)
        elif number == _OUTPUTS:
            name, is_classified = _read_output(message, start, end)
            outputs.append(name)
            if is_classified:
                classified.append(name)
    return InferEnvelope(model, version, 1 if rows is None else rows, tuple(outputs), tuple(classified))


def _read_output(message: bytes, start: int, end: int) -> tuple[str, bool]:
    """An output's name, and whether it is wanted as classes."""
    name, classified = "", False
    for field in _fields(message, start, end):
        if field.number == _OUTPUT_NAME:
            name = message[field.start : field.end].decode()
        elif field.number == _OUTPUT_PARAMETERS:
            classified = _CLASSIFICATION in _check_entry(message, field.start, field.end) or classified
    return name, classified


def _read_input(message: bytes, start: int, end: int) -> int:
    """Checks a tensor's parameters; its first dimension, 1 where it has none."""
    rows: int | None = None
    for field in _fields(message, start, end):
        if field.number == _INPUT_SHAPE and rows is None and field.end > field.start:
            first = _varint(message, field.start)[0]
            rows = first if first < _SIGN_BIT else 1  # negative: Triton will say so
        elif field.number == _INPUT_PARAMETERS:
            _check_entry(message, field.start, field.end)
    return 1 if rows is None else rows


def _check_entry(message: bytes, start: int, end: int) -> list[str]:
    """Checks a parameter; its names, of which Triton's parser takes the last."""
    names = []
    for field in _fields(message, start, end):
        if field.number == _MAP_KEY:
            names.append(message[field.start : field.end].decode())
            check_parameter(names[-1])
    return names


def _fields(message: bytes, at: int, end: int) -> Iterator[_Field]:
    """The fields of a message: number, and where the value lies.

    Raises:
        IndexError: the bytes are no message, or have more fields than are looked at.
    """
    for _ in range(MAX_FIELDS):
        if at == end:
            return
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _LENGTH:
            size, at = _varint(message, at)
            stop = at + size
        elif kind == _VARINT:
            stop = _varint(message, at)[1]
        elif kind == _FIXED64:
            stop = at + 8
        elif kind == _FIXED32:
            stop = at + 4
        else:
            raise IndexError
        if stop > end:
            raise IndexError
        yield _Field(tag >> 3, at, stop)
        at = stop
    raise IndexError


def _varint(message: bytes, at: int) -> tuple[int, int]:
    byte = message[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    for position in range(at + 1, at + 10):
        byte = message[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise IndexError


def _field(number: int, data: bytes) -> bytes:
    """A field of text or of a message; the numbers here are below 16."""
    return bytes((number << 3 | _LENGTH,)) + _encode_varint(len(data)) + data


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def address_to(triton_name: str, version: int) -> bytes:
    """What to append to a request so that Triton takes it as one for this version."""
    return _field(_MODEL_NAME, triton_name.encode()) + _field(_MODEL_VERSION, b"%d" % version)


def answer_as(slug: str) -> bytes:
    """What to append to an answer so that the client reads the name that it knows."""
    return _field(_MODEL_NAME, slug.encode())


def configuration_as(slug: str) -> bytes:
    """What to append to a ModelConfigResponse: messages that occur twice are merged, so only the name changes."""
    return _field(_CONFIG, _field(_CONFIG_NAME, slug.encode()))
