"""One kept-alive HTTP/1.1 connection to a server, for one request at a time."""

# ruff: noqa: D102 - the callbacks are documented by asyncio and httptools

from __future__ import annotations

import asyncio
import select
from typing import Any, Protocol

import httptools

DROPPED_ANSWER_HEADERS = frozenset(
    {
        b"connection",
        b"date",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"server",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class Receiver(Protocol):
    """Whoever waits for an answer on an upstream connection."""

    def upstream_progressed(self) -> None:
        """The head, more of the body or the end of the answer arrived; see the connection's attributes."""

    def upstream_lost(self) -> None:
        """The connection ended before the answer did, or what came was no HTTP."""

    def upstream_writable(self, writable: bool) -> None:
        """The connection takes more of the request's body, or takes no more for now."""


class UpstreamConnection(asyncio.Protocol):
    """Sends one request, collects its answer, and may then be used again.

    Attributes:
        status: of the answer; 0 until its head is complete.
        length: its Content-Length; None where it has none.
        json_bytes: its Inference-Header-Content-Length; None where it has none.
        headers: the other headers that a client may see, each a complete line.
        chunks: what arrived of the body and was not taken yet.
        complete: whether the answer is all there.
    """

    __slots__ = (
        "_parser",
        "_poll",
        "_reading",
        "_receiver",
        "_reusable",
        "_transport",
        "chunks",
        "complete",
        "content_type",
        "headers",
        "idle_since",
        "json_bytes",
        "length",
        "lost",
        "on_idle_lost",
        "status",
    )

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._receiver: Receiver | None = None
        self._reading = True
        self.lost = False
        self.idle_since = 0.0
        self._forget()

    def _forget(self) -> None:
        self.status = 0
        self.length: int | None = None
        self.json_bytes: int | None = None
        self.headers: list[bytes] = []
        self.chunks: list[bytes] = []
        self.complete = False
        self._reusable = False

    # The user's side.

    def begin(self, receiver: Receiver) -> None:
        """Starts a request: what follows on this connection is the receiver's."""
        self._forget()
        self._receiver = receiver

    def write(self, data: bytes) -> None:
        """Sends some of the request."""
        self._transport.write(data)

    def write_all(self, chunks: list[bytes]) -> None:
        """Sends more of the request."""
        self._transport.writelines(chunks)

    def read_on(self, reading: bool) -> None:
        """Reads the answer, or stops reading for as long as the client does not take what there is."""
        if self.lost or reading is self._reading:
            return
        self._reading = reading
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def take(self) -> list[bytes]:
        """The chunks of the body that arrived since the last time."""
        chunks, self.chunks = self.chunks, []
        return chunks

    def finish(self) -> bool:
        """Ends the request after its answer; true when the connection may carry another."""
        self._receiver = None
        self.read_on(True)
        return self._reusable and not self.lost

    def close(self) -> None:
        """Closes at once; a server that still works on a request learns that nobody waits."""
        self._receiver = None
        if not self.lost:
            self.lost = True
            self._transport.abort()

    def is_fresh(self) -> bool:
        """Whether nothing came on the idle connection: an end that was not read yet would cost the next request."""
        return not self.lost and not self._poll.poll(0)

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._poll = select.poll()
        self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
            self.close()
            receiver.upstream_lost()
            return
        if self.status:
            receiver.upstream_progressed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.upstream_lost()

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.upstream_writable(False)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.upstream_writable(True)

    # httptools' side.

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-length":
            self.length = int(value)
        elif lower == b"inference-header-content-length":
            self.json_bytes = int(value)
        elif lower not in DROPPED_ANSWER_HEADERS:
            self.headers.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status

    def on_body(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True
            self._reusable = self._parser.should_keep_alive()  # the parser knows only now
        else:
            self._forget()  # a 1xx: the answer proper follows
