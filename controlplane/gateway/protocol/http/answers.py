"""The bytes of answers that the gateway gives itself, and the heads of those it passes on."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from controlplane.gateway.dataplane.refusals import RefusedError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"

_PHRASES = {499: "Client Closed Request"} | {status.value: status.phrase for status in HTTPStatus}
_encoder = msgspec.json.Encoder()


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


_STATUS_LINES = {status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in _PHRASES.items()}


def error_body(message: str) -> bytes:
    """An error in the form of Triton's protocol."""
    return _encoder.encode({"error": message})


SIMPLE_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "rate_limit_exceeded",
    500: "internal_error",
    503: "service_unavailable",
}
"""The codes of the simple API by status; another status has the code of its hundreds' first."""


def simple_error_body(status: int, message: str, details: dict[str, Any], reason: str) -> bytes:
    """An error in the form of the simple API.

    Args:
        reason: our own stable code, which is finer than the simple API's.
    """
    code = SIMPLE_CODES.get(status) or ("service_unavailable" if status >= 500 else "invalid_request")
    return _encoder.encode({"error": {"code": code, "message": message, "details": {**details, "reason": reason}}})


def refusal_headers(refusal: RefusedError) -> bytes:
    """The headers that only a refusal has, the searchable code first."""
    return b"X-Error-Code: %b\r\n%b" % (refusal.code.encode(), b"".join(refusal.headers))
