"""The shield in front of Triton: small hostile JSON kills it, so the envelope of every inference is read here first.

Tensor values stay as the client wrote them (`msgspec.Raw`). What is forwarded is written anew from what was checked,
never the client's text: JSON with a name twice means one thing to one parser and another to the next.

Source: Triton 2.51 dies of JSON shapes like [9223372036854775807, 64] and [1000000000, 64], and of deep nesting.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.refusals import RefusedError

_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
_SHARED_MEMORY = "shared_memory_"

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class _Tensor(msgspec.Struct, omit_defaults=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, msgspec.Raw] = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct, omit_defaults=True):
    name: str
    parameters: dict[str, msgspec.Raw] = {}


class _Envelope(msgspec.Struct, omit_defaults=True):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, msgspec.Raw] = {}
    outputs: list[_Output] | None = None


class CheckedEnvelope(NamedTuple):
    """An envelope that may be forwarded.

    Attributes:
        text: what to forward in place of the client's JSON.
        id_chars: length of the request's id, which Triton repeats in front of the model's name.
        rows: first dimension of the first input.
    """

    text: bytes
    id_chars: int
    rows: int


_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def check_envelope(text: bytes) -> CheckedEnvelope:
    """Reads the JSON part of an inference request.

    Raises:
        RefusedError: it is not JSON, not an inference request, or one that could do harm.
    """
    envelope = _decode(text)
    for parameter in envelope.parameters:
        check_parameter(parameter)
    # Every element but the first has a comma in front. Where the shape asks for a little more, Triton says so itself;
    # what kills it is a shape that asks for more than any text of this length lists.
    listed = text.count(b",") + 1
    rows = 1
    for tensor in envelope.inputs:
        _check_tensor(tensor, listed)
    if envelope.inputs and envelope.inputs[0].shape:
        rows = envelope.inputs[0].shape[0]
    for output in envelope.outputs or ():
        for parameter in output.parameters:
            check_parameter(parameter)
    return CheckedEnvelope(_encoder.encode(envelope), len(envelope.id), rows)


def _decode(text: bytes) -> _Envelope:
    try:
        return _decoder.decode(text)
    except RecursionError:
        # The parser's own limit, at most 10,000 levels and found at once; Triton 2.51 stands 20,000 and dies of 40,000.
        raise refusals.invalid("The request's JSON is nested too deeply", "request.nested_too_deeply") from None
    except msgspec.ValidationError as error:
        raise _not_an_inference(error) from None
    except msgspec.DecodeError as error:
        return _decode_with_infinities(text, error)
    except UnicodeDecodeError:
        raise _unreadable("it is not UTF-8") from None


def _decode_with_infinities(text: bytes, error: msgspec.DecodeError) -> _Envelope:
    """Reads JSON with NaN and infinities as numbers, which Triton takes and JSON does not have."""
    if b"NaN" not in text and b"Inf" not in text:
        raise _unreadable(str(error)) from None
    try:
        document = json.loads(_spell_out(text))
        for tensor in document.get("inputs", ()) if isinstance(document, dict) else ():
            if isinstance(tensor, dict) and "data" in tensor:
                tensor["data"] = msgspec.Raw(json.dumps(tensor["data"], separators=(",", ":")).encode())
        return msgspec.convert(_raw_parameters(document), _Envelope)
    except msgspec.ValidationError as invalid:
        raise _not_an_inference(invalid) from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _unreadable(str(error)) from None


def _spell_out(text: bytes) -> bytes:
    """Writes the short form ``Inf`` as Python's reader knows it, outside strings only."""
    if b"Inf" not in text:
        return text
    pattern = re.compile(_STRINGS.pattern + rb"|\bInf\b", re.DOTALL)
    return pattern.sub(lambda found: b"Infinity" if found[0] == b"Inf" else found[0], text)


def _raw_parameters(value: Any) -> Any:
    """Turns the values of every ``parameters`` object back into JSON text, which is what the envelope keeps."""
    if not isinstance(value, dict):
        return value
    result = dict(value)
    if isinstance(parameters := result.get("parameters"), dict):
        result["parameters"] = {name: msgspec.Raw(json.dumps(one).encode()) for name, one in parameters.items()}
    for field in ("inputs", "outputs"):
        if isinstance(items := result.get(field), list):
            result[field] = [_raw_parameters(item) for item in items]
    return result


def check_parameter(name: str) -> None:
    """Refuses parameters that would reach memory or state that is not the caller's.

    Raises:
        RefusedError: it is one of those.
    """
    if name.startswith(_SHARED_MEMORY):
        raise shared_memory_refused()
    if name in _SEQUENCE:
        raise sequence_refused()


def shared_memory_refused() -> RefusedError:
    """A tensor in memory that only the server's own host could share."""
    return refusals.forbidden(
        "Shared memory cannot be used through the gateway: it names memory of the server's host",
        "shared_memory.forbidden",
    )


def sequence_refused() -> RefusedError:
    """A sequence, whose ids are one space for all clients of a Triton."""
    return refusals.not_served("A sequence (parameter 'sequence_id')")


def _check_tensor(tensor: _Tensor, listed: int) -> None:
    """Holds the shape against what was sent; Python's integers do not overflow.

    Args:
        listed: how many elements the request's JSON can list at most.
    """
    elements = 1
    for dimension in tensor.shape:
        if dimension < 0:
            raise refusals.invalid(
                f"Input '{tensor.name}' has the dimension {dimension}; dimensions are 0 or more", "request.bad_shape"
            )
        elements *= dimension
    for parameter in tensor.parameters:
        check_parameter(parameter)
    sent = _binary_bytes(tensor) if tensor.data is msgspec.UNSET else listed
    if elements > sent:
        raise refusals.invalid(
            f"Unable to parse 'data': Shape does not match true shape of 'data' field (input '{tensor.name}')",
            "request.bad_shape",
        )


def _binary_bytes(tensor: _Tensor) -> int:
    size = tensor.parameters.get("binary_data_size")
    try:
        return msgspec.json.decode(size, type=int) if size is not None else 0
    except msgspec.DecodeError:
        raise refusals.invalid(
            f"Input '{tensor.name}': 'binary_data_size' is a number of bytes", "request.malformed"
        ) from None


def _unreadable(why: str) -> RefusedError:
    return refusals.invalid(f"failed to parse the request JSON buffer: {why}", "request.not_json")


def _not_an_inference(error: msgspec.ValidationError) -> RefusedError:
    return refusals.invalid(f"failed to parse the request JSON buffer: {error}", "request.malformed")
