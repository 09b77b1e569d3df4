"""The shield in front of Triton: small hostile JSON kills it, so the envelope of every inference is read here first.

Tensor values stay as the client wrote them (`msgspec.Raw`). What is forwarded is written anew from what was checked,
never the client's text: JSON with a name twice means one thing to one parser and another to the next.

Source: Triton 2.51 dies of JSON shapes like [9223372036854775807, 64] and [1000000000, 64], of deep nesting, and of a
classification of texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.sequences import MAX_INT_ID, Sequence

EnterSequence = Callable[[int | str], Sequence]
"""From the id that a client gave to the sequence it stands for."""

MAX_RANK = 32
_SEQUENCE_ID = "sequence_id"
_SEQUENCE = (_SEQUENCE_ID, "sequence_start", "sequence_end")
_SHARED_MEMORY = "shared_memory_"
_CLASSIFICATION = "classification"
_ELEMENT_BYTES = {
    "BOOL": 1,
    "INT8": 1,
    "UINT8": 1,
    "INT16": 2,
    "UINT16": 2,
    "FP16": 2,
    "BF16": 2,
    "INT32": 4,
    "UINT32": 4,
    "FP32": 4,
    "INT64": 8,
    "UINT64": 8,
    "FP64": 8,
}
_BYTES = "BYTES"
_MIN_TEXT_BYTES = 4
"""An element of BYTES is its length in 4 bytes, and the text."""

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_EMPTY_LISTS = re.compile(rb"\[\s*\]")


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
        sequence: the sequence that the request belongs to, if any.
    """

    text: bytes
    id_chars: int
    rows: int
    sequence: Sequence | None = None


_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()
_generate_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def check_envelope(text: bytes, route: Route, enter_sequence: EnterSequence) -> CheckedEnvelope:
    """Reads the JSON part of an inference request.

    Raises:
        RefusedError: it is not JSON, not an inference request, or one that could do harm.
    """
    envelope = _decode(text)
    sequence = _check_request_parameters(envelope.parameters, enter_sequence) if envelope.parameters else None
    for tensor in envelope.inputs:
        _check_tensor(tensor, envelope.id, route)
    if envelope.outputs:
        for output in envelope.outputs:
            for parameter in output.parameters:
                check_parameter(parameter)
        check_outputs(route, (output.name for output in envelope.outputs), _classified(envelope.outputs))
    rows = envelope.inputs[0].shape[0] if envelope.inputs and envelope.inputs[0].shape else 1
    return CheckedEnvelope(_encoder.encode(envelope), len(envelope.id), rows, sequence)


def check_generate(text: bytes, _route: Route, enter_sequence: EnterSequence) -> CheckedEnvelope:
    """Reads the body of a generate request: an object of inputs and parameters, on one level or below ``parameters``.

    Raises:
        RefusedError: it is no JSON object, nested too deeply, or asks for what no client may have.
    """
    try:
        document = _generate_decoder.decode(text)
        nested = document.get("parameters")
        below = _generate_decoder.decode(nested) if nested is not None else {}
        request_id = msgspec.json.decode(document["id"]) if "id" in document else ""
    except RecursionError:
        raise _too_deep() from None
    except msgspec.ValidationError as error:
        raise _not_an_inference(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(str(error)) from None
    sequence = _check_request_parameters(document, enter_sequence)
    if below:
        sequence = _check_request_parameters(below, enter_sequence) or sequence
        document["parameters"] = msgspec.Raw(_encoder.encode(below))
    return CheckedEnvelope(_encoder.encode(document), len(str(request_id)), 1, sequence)


def check_outputs(route: Route, names: Iterable[str], classified: Iterable[str]) -> None:
    """Holds the outputs that a request names against those that the version has.

    Args:
        classified: names of the outputs that the request wants as classes.

    Raises:
        RefusedError: there is no such output, or it cannot be classified.
    """
    known = route.outputs
    if known:
        for name in names:
            if name not in known:
                raise refusals.invalid(
                    f"unexpected inference output '{name}' for model '{route.model.slug}'", "request.unknown_output"
                )
    for name in classified:
        if known.get(name, _BYTES) == _BYTES:
            raise refusals.invalid(
                f"classification is not possible for output '{name}': it is not a tensor of numbers",
                "request.not_classifiable",
            )


def _classified(outputs: list[_Output]) -> list[str]:
    return [output.name for output in outputs if bytes(output.parameters.get(_CLASSIFICATION, b"0")) != b"0"]


def _decode(text: bytes) -> _Envelope:
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise _too_deep() from None
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


def _check_request_parameters(parameters: dict[str, msgspec.Raw], enter_sequence: EnterSequence) -> Sequence | None:
    """Refuses what no client may ask for, and moves a sequence's id into its organisation's part; that sequence."""
    for name in parameters:
        if name.startswith(_SHARED_MEMORY):
            raise shared_memory_refused()
    if _SEQUENCE_ID not in parameters:
        return None
    try:
        given = msgspec.json.decode(parameters[_SEQUENCE_ID], type=int | str)
    except msgspec.ValidationError:
        given = -1
    if isinstance(given, int) and not 0 <= given <= MAX_INT_ID:
        raise refusals.invalid(
            "Unable to parse 'sequence_id': it is a text or a number of 64 bits without a sign", "request.malformed"
        )
    if not given:
        return None  # "no sequence" in Triton's terms
    sequence = enter_sequence(given)
    parameters[_SEQUENCE_ID] = msgspec.Raw(_encoder.encode(sequence.inner))
    return sequence


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
    """A sequence in a place where its id cannot be kept apart from other clients' ids."""
    return refusals.not_served("A sequence (parameter 'sequence_id')")


def _check_tensor(tensor: _Tensor, request_id: str, route: Route) -> None:
    """Holds the shape against what was sent; Python's integers do not overflow.

    A shape that equals what was sent is within the model's maximum too: an element takes a byte of the body at least.
    """
    elements = 1
    if len(tensor.shape) > MAX_RANK:
        raise _bad_shape(f"Input '{tensor.name}' has more than {MAX_RANK} dimensions")
    for dimension in tensor.shape:
        # Where another dimension is 0 nothing is sent, so each is bounded for itself.
        if not 0 <= dimension <= route.model.max_body_bytes:
            raise _bad_shape(f"Input '{tensor.name}' has the dimension {dimension}, which no request can fill")
        elements *= dimension
    binary_bytes = None
    for parameter in tensor.parameters:
        check_parameter(parameter)
        if parameter == "binary_data_size":
            binary_bytes = _binary_bytes(tensor)
    if tensor.data is not msgspec.UNSET:
        if elements != _count_elements(bytes(tensor.data)):
            raise _bad_shape("Unable to parse 'data': Shape does not match true shape of 'data' field")
    elif binary_bytes is None:
        raise refusals.invalid(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
            "'shared_memory_region' in 'parameters'. But no field is set",
            "request.malformed",
        )
    if binary_bytes is not None:
        _check_binary(tensor, elements, binary_bytes, request_id, route)


def _count_elements(data: bytes) -> int:
    """How many values a tensor's ``data`` lists, whatever its nesting, without reading one of them."""
    if b'"' in data:
        if b"\\" not in data:
            return data.count(b'"') // 2  # a number among texts is Triton's to refuse
        data = _STRINGS.sub(b"0", data)
    commas = data.count(b",")
    empty = _EMPTY_LISTS.subn(b"", data)[1] if not commas or data.count(b"[") != 1 else 0
    return commas + 1 - empty


def _check_binary(tensor: _Tensor, elements: int, sent: int, request_id: str, route: Route) -> None:
    size = _ELEMENT_BYTES.get(tensor.datatype)
    if size is None:  # texts, or a type that Triton will not know either
        expected = elements * (_MIN_TEXT_BYTES if tensor.datatype == _BYTES else 1)
        fits = expected <= sent
    else:
        expected = elements * size
        fits = expected == sent
    if not fits:
        raise _bad_shape(
            f"[request id: {request_id or '<id_unknown>'}] input byte size mismatch for input '{tensor.name}' "
            f"for model '{route.model.slug}'. Expected {expected}, got {sent}"
        )


def _binary_bytes(tensor: _Tensor) -> int:
    try:
        size = msgspec.json.decode(tensor.parameters["binary_data_size"], type=int)
    except msgspec.DecodeError:
        size = -1
    if size < 0:
        raise refusals.invalid(f"Input '{tensor.name}': 'binary_data_size' is a number of bytes", "request.malformed")
    return size


def _bad_shape(message: str) -> RefusedError:
    return refusals.invalid(message, "request.bad_shape")


def _too_deep() -> RefusedError:
    # The parser's own limit, at most 10,000 levels and found at once; Triton 2.51 stands 20,000 and dies of 40,000.
    return refusals.invalid("The request's JSON is nested too deeply", "request.nested_too_deeply")


def _unreadable(why: str) -> RefusedError:
    return refusals.invalid(f"failed to parse the request JSON buffer: {why}", "request.not_json")


def _not_an_inference(error: msgspec.ValidationError) -> RefusedError:
    return refusals.invalid(f"failed to parse the request JSON buffer: {error}", "request.malformed")
