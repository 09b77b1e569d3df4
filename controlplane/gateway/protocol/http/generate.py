"""Triton's generate extension: one JSON object in, one JSON object or a stream of events out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.refusals import upstream_failed
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.shield import EnterSequence, check_generate
from controlplane.gateway.protocol.http.forwarding import MAX_HELD_ANSWER_BYTES, total
from controlplane.gateway.protocol.http.infer import InferForwarding
from controlplane.gateway.upstream.connection import UpstreamConnection
from controlplane.wire.errors import ErrorKind
from controlplane.wire.usage import Cause

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange

_EVENT_END = b"\n\n"
_ERROR_BODY = b'{"error":'
_ERROR_EVENT = b'data: {"error":'


class GenerateForwarding(InferForwarding):
    """Sends on a generate request; events leave as they come, each under the public name.

    The status of a stream is fixed by its first event; a later error is an event, and counts as the model's failure.
    """

    __slots__ = ("_streams", "_tail")

    def __init__(
        self, exchange: Exchange, route: Route, account: Account, enter_sequence: EnterSequence, *, streams: bool
    ) -> None:
        super().__init__(exchange, route, account, check_generate, enter_sequence)
        self._streams = streams
        self._tail = b""

    def _request_line(self) -> bytes:
        return b"POST %b/generate%b HTTP/1.1\r\n" % (self._route.base_path, b"_stream" if self._streams else b"")

    def _open_answer(self, upstream: UpstreamConnection) -> None:
        if self._streams:
            events = self._events(upstream)
            self._begin_answer(upstream, events, total(events), 0)
            return
        if upstream.chunks and upstream.chunks[0].startswith(_ERROR_BODY):
            self._cause = Cause.MODEL
        super()._open_answer(upstream)

    def _encoding(self, length: int | None) -> bytes:
        # A compressor would keep events back.
        return b"" if self._streams else super()._encoding(length)

    def _relay(self, upstream: UpstreamConnection) -> None:
        if not self._streams:
            super()._relay(upstream)
            return
        self._waiting_since = time.perf_counter()
        chunks = self._events(upstream)
        if not self._exchange.ended and (chunks or upstream.complete):
            self._pass_on(upstream, chunks, b"")

    def _events(self, upstream: UpstreamConnection) -> list[bytes]:
        """The events that are complete, rewritten; the beginning of another is kept."""
        data = self._tail + b"".join(upstream.take())
        end = len(data) if upstream.complete else data.rfind(_EVENT_END) + len(_EVENT_END)
        if end < len(_EVENT_END):
            end = 0
        data, self._tail = data[:end], data[end:]
        if len(self._tail) > MAX_HELD_ANSWER_BYTES:
            self._exchange.refuse(upstream_failed(refusals.BROKEN_ANSWER, "upstream.bad_answer", ErrorKind.UPSTREAM))
            return []
        events = data.split(_EVENT_END)
        return [_EVENT_END.join(map(self._under_public_name, events))] if data else []

    def _under_public_name(self, event: bytes) -> bytes:
        if event.startswith(_ERROR_EVENT):
            self._cause = Cause.MODEL
            return self._route.restore_error(event)
        return event.replace(self._route.json_name, self._route.public_json_name, 1)
