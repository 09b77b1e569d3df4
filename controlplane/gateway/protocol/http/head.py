"""The head of a request: what the gateway reads of it, what it passes on, and the forms it refuses."""

from __future__ import annotations

import re

from controlplane.gateway.dataplane.refusals import RefusedError, invalid
from controlplane.wire.errors import ErrorKind
from controlplane.wire.usage import Cause

MAX_HEAD_BYTES = 64 * 1024

_NOT_FORWARDED = frozenset(
    {
        b"content-length",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"triton-control",
        b"upgrade",
        b"x-real-ip",
    }
)
_NOT_FORWARDED_PREFIX = b"triton-grpc-protocol-"
_HOP_BY_HOP_ONLY = re.compile(rb"(?:\s*(?:keep-alive|close|upgrade|te|http2-settings)\s*(?:,|$))*", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestHead:
    """What a request's headers say.

    Attributes:
        credential: the value of `Authorization`, else of `X-API-Key`.
        forwarded: the lines that a server may see.
        accepts: the value of `Accept-Encoding`, which a server is never shown.
        forwarded_for: the addresses in `X-Forwarded-For`, which are worth as much as whoever connects.
        trace: the value of `traceparent`.
        length: Content-Length; None where it was not sent.
        json_bytes: Inference-Header-Content-Length; None where it was not sent.
        encoding: Content-Encoding in lower case, empty for none.
        request_id: the client's own X-Request-Id, where it is one that can be repeated safely.
    """

    __slots__ = (
        "_api_key",
        "_bad_framing",
        "_bytes",
        "_connection",
        "_hosts",
        "_json_bytes",
        "accepts",
        "chunked",
        "credential",
        "encoding",
        "expects_continue",
        "forwarded",
        "forwarded_for",
        "json_bytes",
        "keep_alive",
        "length",
        "method",
        "old_http",
        "request_id",
        "trace",
        "url",
    )

    def __init__(self) -> None:
        self.url = b""
        self.method = b""
        self.forwarded: list[bytes] = []
        self.credential: bytes | None = None
        self.length: int | None = None
        self.json_bytes: int | None = None
        self.encoding = b""
        self.accepts = b""
        self.forwarded_for = b""
        self.trace = b""
        self.chunked = False
        self._bad_framing = False
        self.expects_continue = False
        self.keep_alive = True
        self.old_http = False
        self.request_id: bytes | None = None
        self._api_key: bytes | None = None
        self._json_bytes: bytes | None = None
        self._connection = b""
        self._hosts = 0
        self._bytes = 0

    def add(self, name: bytes, value: bytes) -> None:
        """Takes in one header."""
        self._bytes += len(name) + len(value)
        lower = name.lower()
        read = _READ.get(lower)
        if read is not None:
            read(self, value)
        elif lower not in _NOT_FORWARDED and not lower.startswith(_NOT_FORWARDED_PREFIX):
            self.forwarded.append(b"%b: %b\r\n" % (name, value))

    def complete(self, method: bytes, version: str, keep_alive: bool) -> RefusedError | None:
        """Finishes the head; what is wrong with it, or None."""
        self.method = method
        self.keep_alive = keep_alive
        self.old_http = version != "1.1"
        if self.credential is None:
            self.credential = self._api_key
        if self._bytes + len(self.url) > MAX_HEAD_BYTES:
            return head_too_large()
        if version not in {"1.0", "1.1"}:
            return malformed(f"HTTP/{version} is not spoken here")
        if self._hosts != 1 and (self._hosts or version == "1.1"):
            return malformed("A request has exactly one Host header")
        if not self.url.startswith(b"/"):
            return malformed("The request line names a path, not an absolute URI")
        if self._bad_framing:
            return malformed("The only Transfer-Encoding that is read is 'chunked'")
        if method == b"CONNECT":
            return malformed("This is no proxy")
        if self._connection:
            self._drop_nominated()
        return self._read_json_bytes()

    def _read_json_bytes(self) -> RefusedError | None:
        if self._json_bytes is None:
            return None
        if not self._json_bytes.isdigit() or len(self._json_bytes) > 18:
            return invalid("Inference-Header-Content-Length is a number of bytes", "request.malformed")
        self.json_bytes = int(self._json_bytes)
        if self.length is not None and not self.encoding and self.json_bytes > self.length:
            return invalid("Inference-Header-Content-Length is larger than the request body", "request.malformed")
        return None

    def _drop_nominated(self) -> None:
        """Headers that `Connection` names are for the next hop only, which is this gateway."""
        if _HOP_BY_HOP_ONLY.fullmatch(self._connection):
            return
        nominated = {name.strip().lower() for name in self._connection.split(b",")}
        self.forwarded = [line for line in self.forwarded if line.partition(b":")[0].lower() not in nominated]

    def _host(self, _value: bytes) -> None:
        self._hosts += 1

    def _authorization(self, value: bytes) -> None:
        self.credential = value

    def _x_api_key(self, value: bytes) -> None:
        self._api_key = value

    def _content_length(self, value: bytes) -> None:
        self.length = int(value)  # llhttp let only digits through, and only once

    def _transfer_encoding(self, value: bytes) -> None:
        self._bad_framing = self.chunked or value.strip().lower() != b"chunked"
        self.chunked = True

    def _content_encoding(self, value: bytes) -> None:
        self.encoding = value.strip().lower() if value.strip().lower() != b"identity" else b""

    def _inference_header_length(self, value: bytes) -> None:
        self._json_bytes = value.strip() if self._json_bytes is None else b"twice"

    def _connection_options(self, value: bytes) -> None:
        self._connection = self._connection + b"," + value if self._connection else value

    def _expect(self, value: bytes) -> None:
        self.expects_continue = value.strip().lower() == b"100-continue"

    def _x_request_id(self, value: bytes) -> None:
        if _REQUEST_ID.fullmatch(value):
            self.request_id = value

    def _accept_encoding(self, value: bytes) -> None:
        self.accepts = self.accepts + b"," + value if self.accepts else value

    def _x_forwarded_for(self, value: bytes) -> None:
        self.forwarded_for = self.forwarded_for + b"," + value if self.forwarded_for else value

    def _traceparent(self, value: bytes) -> None:
        self.trace = value
        self.forwarded.append(b"traceparent: %b\r\n" % value)


_READ = {
    b"accept-encoding": RequestHead._accept_encoding,
    b"traceparent": RequestHead._traceparent,
    b"x-forwarded-for": RequestHead._x_forwarded_for,
    b"host": RequestHead._host,
    b"authorization": RequestHead._authorization,
    b"x-api-key": RequestHead._x_api_key,
    b"content-length": RequestHead._content_length,
    b"transfer-encoding": RequestHead._transfer_encoding,
    b"content-encoding": RequestHead._content_encoding,
    b"inference-header-content-length": RequestHead._inference_header_length,
    b"connection": RequestHead._connection_options,
    b"expect": RequestHead._expect,
    b"x-request-id": RequestHead._x_request_id,
}


def malformed(message: str) -> RefusedError:
    """The request is no HTTP, or of a form that two parsers may read in two ways."""
    return invalid(message, "request.malformed_http")


def head_too_large() -> RefusedError:
    """The request line and headers are more than is read."""
    return RefusedError(
        f"The request's head is larger than {MAX_HEAD_BYTES} bytes",
        kind=ErrorKind.TOO_LARGE,
        code="request.head_too_large",
        cause=Cause.REQUEST,
        status=431,
    )
