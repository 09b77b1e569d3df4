"""Inference over HTTP: the checked request streams to a server, the answer streams back under the public name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.refusals import upstream_failed
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.protocol.http.forwarding import (
    HELD_WHILE_CONNECTING_BYTES,
    HOLD_CONNECTING,
    MAX_HELD_ANSWER_BYTES,
    NAME_WITHIN_BYTES,
    ONE_WRITE_BYTES,
    Forwarding,
    Stage,
    total,
)
from controlplane.gateway.upstream.connection import UpstreamConnection
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import ServerEntry
from controlplane.wire.usage import Cause

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange

_LONGEST_ESCAPE = 6  # \u0000: how long a character of the id may become in Triton's JSON


class InferForwarding(Forwarding):
    """Sends on an inference once its JSON part is checked."""

    __slots__ = ("_account", "_chunked")

    def __init__(self, exchange: Exchange, route: Route, account: Account) -> None:
        super().__init__(exchange, route)
        self._account = account
        self._chunked = False

    def advance(self) -> None:
        """Checks and sends what arrived.

        Raises:
            RefusedError: the request may not be forwarded, or no server has the version.
        """
        body = self._exchange.body
        body.check_received()
        if self._stage is Stage.COLLECTING:
            if body.ready():
                body.open()
                self._account.rows = body.rows
                self._find_server()
        elif self._upstream is not None:
            self._send_more(self._upstream)
        elif total(body.chunks) > HELD_WHILE_CONNECTING_BYTES:
            self._exchange.connection.hold(HOLD_CONNECTING, True)

    def _send(self, upstream: UpstreamConnection, target: ServerEntry) -> None:
        body = self._exchange.body
        self._account.forwarded_at = self._forwarded_at
        lines = [self._route.infer_line, b"Host: %b\r\nAccept-Encoding: identity\r\n" % target.http.encode()]
        if body.length is None:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        else:
            lines.append(b"Content-Length: %d\r\n" % body.length)
        if body.json_bytes is not None:
            lines.append(b"Inference-Header-Content-Length: %d\r\n" % body.json_bytes)
        lines += self._exchange.head.forwarded
        lines.append(b"\r\n")
        chunks = body.framed()
        if total(chunks) <= ONE_WRITE_BYTES:
            upstream.write(b"".join(lines + chunks))
        else:
            upstream.write_all([b"".join(lines), *chunks])
        self._stage = Stage.WAITING if body.complete else Stage.SENDING

    def _send_more(self, upstream: UpstreamConnection) -> None:
        body = self._exchange.body
        if self._stage is Stage.WAITING:
            return  # what arrived is the next request
        chunks = body.framed()
        if chunks:
            upstream.write_all(chunks)
        if self._stage is Stage.SENDING and body.complete:
            self._stage = Stage.WAITING
            self._waiting_since = self._exchange.connection.received_at

    def upstream_progressed(self) -> None:
        """Relays what arrived of the answer."""
        upstream = self._upstream
        if upstream is None:
            return
        if not self._answered_at:
            self._answered_at = time.perf_counter()
        if self._stage is Stage.RELAYING:
            self._relay(upstream)
        elif upstream.status < 400:
            self._open_answer(upstream)
        elif upstream.complete:
            self._whole_error(upstream)
        elif total(upstream.chunks) > MAX_HELD_ANSWER_BYTES:
            self._exchange.refuse(upstream_failed(refusals.BROKEN_ANSWER, "upstream.bad_answer", ErrorKind.UPSTREAM))

    def _open_answer(self, upstream: UpstreamConnection) -> None:
        """Sends the head, as soon as so much of the body is there that the name in it can be replaced."""
        within = NAME_WITHIN_BYTES + _LONGEST_ESCAPE * self._exchange.body.id_chars
        if not upstream.complete and total(upstream.chunks) < within:
            return
        chunks = upstream.take()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        at = data.find(self._route.json_name, 0, within)
        shift = 0
        parts: list[bytes] = [data]
        if at >= 0:
            name, public = self._route.json_name, self._route.public_json_name
            shift = len(public) - len(name)
            # The rest stays where it is: an answer of many megabytes is not copied for a name.
            parts = [data[:at], public, memoryview(data)[at + len(name) :]]  # type: ignore[list-item]
        head = self._head(upstream, len(data) + shift, shift)
        self._pass_on(upstream, parts, head)

    def _head(self, upstream: UpstreamConnection, first_bytes: int, shift: int) -> bytes:
        headers = list(upstream.headers)
        if upstream.json_bytes is not None:
            headers.append(b"Inference-Header-Content-Length: %d\r\n" % (upstream.json_bytes + shift))
        if upstream.length is not None:
            headers.append(b"Content-Length: %d\r\n" % (upstream.length + shift))
        elif upstream.complete:
            headers.append(b"Content-Length: %d\r\n" % first_bytes)
        elif self._exchange.head.old_http:
            self._exchange.head.keep_alive = False  # HTTP/1.0 knows the end of a body only by the connection's
        else:
            self._chunked = True
            headers.append(b"Transfer-Encoding: chunked\r\n")
        return self._exchange.head_of_answer(upstream.status, b"".join(headers), self._overhead_s())

    def _relay(self, upstream: UpstreamConnection) -> None:
        self._waiting_since = time.perf_counter()
        chunks = upstream.take()
        if chunks or upstream.complete:
            self._pass_on(upstream, chunks, b"")

    def _pass_on(self, upstream: UpstreamConnection, chunks: list[bytes], head: bytes) -> None:
        """Sends a piece of the answer; the last one only when the record of the request is written."""
        size = total(chunks)
        if self._chunked:
            chunks = [b"%x\r\n" % size, *chunks, b"\r\n"] if size else []
            if upstream.complete:
                chunks.append(b"0\r\n\r\n")
        if head:
            chunks.insert(0, head)
        if size <= ONE_WRITE_BYTES:
            chunks = [b"".join(chunks)]
        if upstream.complete:
            self._exchange.finish(chunks, size, upstream.status, Cause.OK)
            return
        self._stage = Stage.RELAYING
        self._waiting_since = time.perf_counter()
        self._account.bytes_out += size
        self._exchange.connection.write_all(chunks)
