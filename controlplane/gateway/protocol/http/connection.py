"""A client's HTTP/1.1 connection: bytes in, exchanges in order, bytes out, and never more held than must be."""

# ruff: noqa: D102 - the callbacks are documented by asyncio and httptools

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from controlplane.gateway.dataplane.refusals import RefusedError, invalid, stopping, too_slow
from controlplane.gateway.protocol.http.body import MAX_CHUNKS
from controlplane.gateway.protocol.http.exchange import Exchange
from controlplane.gateway.protocol.http.forwarding import HOLD_PIPELINE
from controlplane.gateway.protocol.http.head import MAX_HEAD_BYTES, RequestHead, head_too_large, malformed

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.server import HttpServer

HEAD_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 75.0
LINGER_S = 2.0
"""How long a connection stays readable after an early answer, so that closing does not destroy the answer."""
WRITE_STALL_S = 60.0
_KEEPALIVE_IDLE_S, _KEEPALIVE_EVERY_S, _KEEPALIVE_TRIES = 30, 10, 3


def _notice_silent_death(sock: Any) -> None:
    """Lets the kernel ask whether a quiet client is still there: one whose cable was cut sends no end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_TRIES)


class HttpConnection(asyncio.Protocol):
    """Feeds a parser, runs one exchange after the other, and passes back-pressure both ways.

    Attributes:
        received_at: reading of `time.perf_counter` when the last bytes came.
        writable: whether the client takes what it is sent.
    """

    __slots__ = (
        "_broken",
        "_chunks",
        "_current",
        "_driving",
        "_head",
        "_head_since",
        "_holds",
        "_idle_since",
        "_leading_up",
        "_linger_until",
        "_parser",
        "_quiet_bytes",
        "_receiving",
        "_server",
        "_skips_body",
        "_stalled_since",
        "_transport",
        "_waiting",
        "received_at",
        "writable",
    )

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser: Any = httptools.HttpRequestParser(self)
        self._head: RequestHead | None = None
        self._head_since = 0.0
        self._receiving: Exchange | None = None
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._chunks = 0
        self._quiet_bytes = 0
        self._holds = 0
        self._broken = False
        self._leading_up = False
        self._skips_body = False
        self._driving = False
        self._linger_until = 0.0
        self._stalled_since = 0.0
        self.writable = True
        self.received_at = self._idle_since = time.perf_counter()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._server.connections.add(self)
        _notice_silent_death(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        self.received_at = time.perf_counter()
        self._quiet_bytes += len(data)
        self._feed(data)
        if self._quiet_bytes > MAX_HEAD_BYTES and not self._broken:
            self._break_off(head_too_large())
        current = self._current
        if current is not None:
            current.advance()
        self._drive()

    def connection_lost(self, exc: Exception | None) -> None:
        self._broken = True
        self._server.connections.discard(self)
        self._waiting.clear()
        current, self._current = self._current, None
        if current is not None:
            current.client_lost()

    def pause_writing(self) -> None:
        self.writable = False
        self._stalled_since = time.perf_counter()
        if self._current is not None:
            self._current.client_writable(False)

    def resume_writing(self) -> None:
        self.writable = True
        if self._current is not None:
            self._current.client_writable(True)

    # The exchange's side.

    def write(self, data: bytes) -> None:
        """Sends some of an answer."""
        self._transport.write(data)

    def write_all(self, chunks: list[bytes]) -> None:
        """Sends more of an answer."""
        self._transport.writelines(chunks)

    def hold(self, reason: int, on: bool) -> None:
        """Stops reading for a reason, or goes on once no reason is left."""
        before = self._holds
        self._holds = before | reason if on else before & ~reason
        if self._transport.is_closing():
            return
        if not before and self._holds:
            self._transport.pause_reading()
        elif before and not self._holds:
            self._transport.resume_reading()

    @property
    def held(self) -> bool:
        """Whether reading is on hold, so that a client's silence is not its own."""
        return self._holds != 0

    def client_address(self, forwarded_for: bytes) -> str:
        """Where the request comes from, as far as that can be believed."""
        peer = self._transport.get_extra_info("peername")
        return self._server.trusted_proxies.client_address(peer[0] if peer else "", forwarded_for)

    def finished(self, exchange: Exchange, keep: bool) -> None:
        """Takes note that an exchange is over; goes on with the next, or closes."""
        self._current = None
        if keep:
            self._idle_since = time.perf_counter()
            if not self._driving:
                self._drive()
        elif exchange.body.complete:
            self._broken = True
            self._transport.close()
        else:
            self._linger()

    def abort(self) -> None:
        """Cuts the connection: the client sees that its answer is not complete."""
        self._broken = True
        self._transport.abort()

    def give_up(self) -> None:
        """Ends what is still running with an error, because the process ends."""
        if self._current is not None:
            self._current.refuse(stopping())
        self._transport.close()

    def close_if_idle(self) -> None:
        """Closes between two requests; called while draining."""
        if self._current is None and not self._linger_until:
            self._broken = True
            self._transport.close()

    def check(self, now: float) -> None:
        """Enforces the time limits; called a few times a second.

        Args:
            now: reading of `time.perf_counter`.
        """
        if self._linger_until:
            if now > self._linger_until:
                self._transport.abort()
        elif not self.writable and now - self._stalled_since > WRITE_STALL_S:
            self._transport.abort()
        elif self._current is not None:
            self._current.check(now)
        elif self._head is not None and now - self._head_since > HEAD_TIMEOUT_S:
            self._break_off(too_slow("head"))
            self._drive()
        elif now - max(self._idle_since, self.received_at) > KEEP_ALIVE_S:
            self.close_if_idle()

    # httptools' side.

    def on_message_begin(self) -> None:
        if self._leading_up:
            return
        self._head = RequestHead()
        self._head_since = self.received_at

    def on_url(self, url: bytes) -> None:
        if self._head is not None:
            self._head.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:  # a trailer is not read
            self._head.add(name, value)

    def on_headers_complete(self) -> None:
        head, parser = self._head, self._parser
        if head is None:
            return
        self._head = None
        refusal = head.complete(parser.get_method(), parser.get_http_version(), parser.should_keep_alive())
        self._chunks = 0
        self._skips_body = parser.should_upgrade() and bool(head.length or head.chunked)
        self._receiving = Exchange(self, self._server, head, self.received_at, refusal)
        self._waiting.append(self._receiving)

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > MAX_CHUNKS and self._receiving is not None:
            self._receiving.refusal = invalid(
                f"The request body has more than {MAX_CHUNKS} chunks", "request.too_many_chunks"
            )

    def on_body(self, chunk: bytes) -> None:
        self._quiet_bytes = 0
        if self._receiving is not None:
            body = self._receiving.body
            body.chunks.append(chunk)
            body.received_bytes += len(chunk)

    def on_message_complete(self) -> None:
        self._quiet_bytes = 0
        if self._skips_body:
            self._skips_body = False
        elif self._receiving is not None:
            self._receiving.body.complete = True
            self._receiving = None

    # Inside.

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade()
            if rest := data[upgrade.args[0] :]:
                self._feed(rest)
        except httptools.HttpParserError as error:
            self._break_off(malformed(f"The request is not HTTP/1.1: {error}"))

    def _ignore_upgrade(self) -> None:
        """Goes on in HTTP/1.1 after an offer to change the protocol, as RFC 9110 7.8 allows.

        The parser leaves the body unread; a new one is led up to it by a head of our own.
        """
        self._parser = httptools.HttpRequestParser(self)
        if self._receiving is None:
            return
        head = self._receiving.head
        framing = b"Transfer-Encoding: chunked" if head.chunked else b"Content-Length: %d" % (head.length or 0)
        self._leading_up = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
        self._leading_up = False

    def _break_off(self, refusal: RefusedError) -> None:
        """Answers in turn that what came cannot be understood, and reads no more."""
        self._broken = True
        if self._receiving is not None:
            self._receiving.refusal = refusal
        else:
            self._waiting.append(Exchange(self, self._server, self._head or RequestHead(), self.received_at, refusal))

    def _drive(self) -> None:
        """Starts exchanges for as long as the one before is over."""
        self._driving = True
        while self._current is None and self._waiting and not self._transport.is_closing():
            self._current = self._waiting.popleft()
            self._current.start()
        self._driving = False
        if self._waiting or self._holds & HOLD_PIPELINE:
            self.hold(HOLD_PIPELINE, bool(self._waiting))

    def _linger(self) -> None:
        """Ends the answer and reads what the client still sends, into nowhere."""
        self._broken = True
        self._linger_until = time.perf_counter() + LINGER_S
        self._waiting.clear()
        if not self._transport.can_write_eof():  # TLS: it ends both ways at once, after what was written
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
            if self._holds:
                self._holds = 0
                self._transport.resume_reading()
