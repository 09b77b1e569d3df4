"""Inference over HTTP: the checked request streams to a server, the answer streams back under the public name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.refusals import RefusedError, upstream_failed
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.shield import EnterSequence
from controlplane.gateway.protocol.http import compression
from controlplane.gateway.protocol.http.body import Check
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

RESENT_BYTES = 256 * 1024
"""Requests up to this size are kept until they are answered, in case the server says that it did not run them."""
_LONGEST_ESCAPE = 6  # \u0000: how long a character of the id may become in Triton's JSON


class InferForwarding(Forwarding):
    """Sends on an inference once its JSON part is checked.

    Args:
        check: reads the request's JSON.
        enter_sequence: from the id of a sequence to the sequence.
    """

    __slots__ = ("_account", "_cause", "_check_body", "_chunked", "_compressor", "_enter_sequence", "_sent")

    def __init__(
        self, exchange: Exchange, route: Route, account: Account, check: Check, enter_sequence: EnterSequence
    ) -> None:
        super().__init__(exchange, route)
        self._account = account
        self._check_body = check
        self._enter_sequence = enter_sequence
        self._chunked = False
        self._compressor: Any = None
        self._cause = Cause.OK
        self._sent: list[bytes] | None = None

    def advance(self) -> None:
        """Checks and sends what arrived.

        Raises:
            RefusedError: the request may not be forwarded, or no server has the version.
        """
        body = self._exchange.body
        body.check_received(self._stage is Stage.COLLECTING)
        if self._stage is Stage.COLLECTING:
            if body.ready():
                if body.inflates_long:
                    self._stage = Stage.OPENING
                    self._exchange.server.spawn(self._open_apart())
                else:
                    self._open()
        elif self._upstream is not None:
            self._send_more(self._upstream)
        elif total(body.chunks) > HELD_WHILE_CONNECTING_BYTES:
            self._exchange.connection.hold(HOLD_CONNECTING, True)

    def _open(self) -> None:
        body = self._exchange.body
        body.open(self._check_body, self._route, self._enter_sequence)
        self._account.rows = body.rows
        self._find_server()

    async def _open_apart(self) -> None:
        try:
            await self._exchange.body.inflate_apart()
            if self._stage is Stage.OPENING:
                self._open()
        except RefusedError as refusal:
            self._exchange.refuse(refusal)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client gets an answer
            self._exchange.fail(error)

    def _request_line(self) -> bytes:
        return self._route.infer_line

    def _send(self, upstream: UpstreamConnection, target: ServerEntry) -> None:
        body = self._exchange.body
        self._account.forwarded_at = self._forwarded_at
        lines = [self._request_line(), b"Host: %b\r\nAccept-Encoding: identity\r\n" % target.http.encode()]
        if body.length is None:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        else:
            lines.append(b"Content-Length: %d\r\n" % body.length)
        if body.json_bytes is not None:
            lines.append(b"Inference-Header-Content-Length: %d\r\n" % body.json_bytes)
        lines += self._exchange.head.forwarded
        lines.append(b"\r\n")
        chunks = body.framed() if self._sent is None else self._sent
        size = total(chunks)
        if size <= ONE_WRITE_BYTES:
            upstream.write(b"".join(lines + chunks))
        else:
            upstream.write_all([b"".join(lines), *chunks])
        if not body.complete:
            self._stage = Stage.SENDING
            return
        self._stage = Stage.WAITING
        if size <= RESENT_BYTES:
            self._sent = chunks

    def _can_resend(self) -> bool:
        return self._sent is not None

    def _died(self, target: ServerEntry) -> None:
        super()._died(target)
        account = self._account
        self._exchange.server.plane.poison.died(account.key, account.model, time.perf_counter())

    def _send_more(self, upstream: UpstreamConnection) -> None:
        body = self._exchange.body
        if self._stage is not Stage.SENDING:
            return  # what arrived is the next request
        chunks = body.framed()
        if chunks:
            upstream.write_all(chunks)
        if body.complete:
            self._stage = Stage.WAITING
            self._waiting_since = self._exchange.connection.received_at

    def upstream_progressed(self) -> None:
        """Relays what arrived of the answer."""
        upstream = self._progressed()
        if upstream is None:
            return
        if self._stage is Stage.RELAYING:
            self._relay(upstream)
        elif upstream.status < 400:
            self._open_answer(upstream)
        elif upstream.complete:
            self._whole_error(upstream)
        elif total(upstream.chunks) > MAX_HELD_ANSWER_BYTES:
            self._exchange.refuse(upstream_failed(refusals.BROKEN_ANSWER, "upstream.bad_answer", ErrorKind.UPSTREAM))

    def _open_answer(self, upstream: UpstreamConnection) -> None:
        """Sends the head, as soon as so much of the body is there that the names in it can be replaced."""
        sequence = self._exchange.body.sequence
        within = NAME_WITHIN_BYTES + _LONGEST_ESCAPE * self._exchange.body.id_chars
        if not upstream.complete and total(upstream.chunks) < within:
            return
        chunks = upstream.take()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        arrived = len(data)
        if sequence is not None and (at := data.find(b'"sequence_id":', 0, within)) >= 0:
            given, inner = msgspec.json.encode(sequence.given), msgspec.json.encode(sequence.inner)
            data = data[:at] + data[at : at + 64].replace(inner, given, 1) + data[at + 64 :]
        size = len(data)
        at = data.find(self._route.json_name, 0, within)
        parts: list[bytes] = [data]
        if at >= 0:
            name, public = self._route.json_name, self._route.public_json_name
            # The rest stays where it is: an answer of many megabytes is not copied for a name.
            parts = [data[:at], public, memoryview(data)[at + len(name) :]]  # type: ignore[list-item]
            size += len(public) - len(name)
        self._begin_answer(upstream, parts, size, size - arrived)

    def _begin_answer(self, upstream: UpstreamConnection, parts: list[bytes], size: int, shift: int) -> None:
        """Chooses how the answer is framed and encoded, and sends its head with its first bytes.

        Args:
            size: of the parts together.
            shift: how much longer the answer is than the server's.
        """
        headers = list(upstream.headers)
        if upstream.json_bytes is not None:
            headers.append(b"Inference-Header-Content-Length: %d\r\n" % (upstream.json_bytes + shift))
        exchange, length = self._exchange, None
        if upstream.complete:
            length = size
        elif upstream.length is not None:
            length = upstream.length + shift
        if encoding := self._encoding(length):
            headers.append(compression.headers(encoding))
            self._compressor = compression.compressor(encoding)
            parts = self._compressed(parts, upstream.complete)
            length = total(parts) if upstream.complete else None
        if length is not None:
            headers.append(b"Content-Length: %d\r\n" % length)
        elif exchange.head.old_http:
            exchange.head.keep_alive = False  # HTTP/1.0 knows the end of a body only by the connection's
        else:
            self._chunked = True
            headers.append(b"Transfer-Encoding: chunked\r\n")
        head = exchange.head_of_answer(upstream.status, b"".join(headers), self._overhead_s())
        self._pass_on(upstream, parts, head)

    def _encoding(self, length: int | None) -> bytes:
        return self._exchange.encoding_for(length)

    def _compressed(self, chunks: list[bytes], complete: bool) -> list[bytes]:
        compressed = [self._compressor.compress(chunk) for chunk in chunks]
        if complete:
            compressed.append(self._compressor.flush())
        return [chunk for chunk in compressed if chunk]

    def _relay(self, upstream: UpstreamConnection) -> None:
        self._waiting_since = time.perf_counter()
        chunks = upstream.take()
        if self._compressor is not None:
            chunks = self._compressed(chunks, upstream.complete)
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
            self._exchange.finish(chunks, size, upstream.status, self._cause)
            return
        self._stage = Stage.RELAYING
        self._waiting_since = time.perf_counter()
        self._account.bytes_out += size
        self._exchange.connection.write_all(chunks)
