"""The server's part of an exchange: find one, send it the request, and relay what it answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.causes import cause_of_http
from controlplane.gateway.dataplane.refusals import upstream_failed
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.protocol.http import compression
from controlplane.gateway.upstream.connection import UpstreamConnection
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import ServerEntry
from controlplane.wire.usage import Cause

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange

ONE_WRITE_BYTES = 64 * 1024
"""Up to this size copying into one buffer is cheaper than writing twice."""
HELD_WHILE_CONNECTING_BYTES = 256 * 1024
MAX_HELD_ANSWER_BYTES = 16 * 1024 * 1024
"""Answers that are rewritten as a whole (metadata, configurations, errors) are no larger."""
NAME_WITHIN_BYTES = 256
"""Triton writes the model's name this early in an answer, not counting the request's id."""

# Why reading from the client is on hold.
HOLD_PIPELINE = 1
HOLD_UPSTREAM = 2
HOLD_CONNECTING = 4


class Answering(Protocol):
    """What answers an exchange, as the exchange sees it."""

    def advance(self) -> None:
        """Goes on after more of the request arrived; raises `RefusedError` where it cannot be served."""

    def check(self, now: float) -> None:
        """Enforces time limits; raises `RefusedError` where one was exceeded."""

    def read_on(self, reading: bool) -> None:
        """Passes on that the client takes more of the answer, or no more for now."""

    def release(self) -> None:
        """Lets go of everything; the exchange is over."""


class Stage(Enum):
    """How far it is."""

    COLLECTING = auto()
    OPENING = auto()
    CONNECTING = auto()
    SENDING = auto()
    WAITING = auto()
    RELAYING = auto()
    RELEASED = auto()


class Forwarding:
    """What inferences and queries have in common; the receiver of an upstream connection."""

    __slots__ = (
        "_answered_at",
        "_blocked",
        "_exchange",
        "_forwarded_at",
        "_reused",
        "_route",
        "_stage",
        "_target",
        "_tried",
        "_upstream",
        "_waiting_since",
    )

    def __init__(self, exchange: Exchange, route: Route) -> None:
        self._exchange = exchange
        self._route = route
        self._stage = Stage.COLLECTING
        self._upstream: UpstreamConnection | None = None
        self._target: ServerEntry | None = None
        self._reused = self._blocked = False
        self._tried: list[int] = []
        self._forwarded_at = self._answered_at = self._waiting_since = 0.0

    # The exchange's side.

    def advance(self) -> None:
        """Goes on after more of the request arrived.

        Raises:
            RefusedError: the request cannot be served.
        """
        raise NotImplementedError

    def check(self, now: float) -> None:
        """Enforces the limits on the server's time.

        Raises:
            RefusedError: it was exceeded.
        """
        waits = self._stage is Stage.WAITING or (self._stage is Stage.SENDING and self._blocked)
        if waits and now - self._waiting_since > self._route.model.timeout_s:
            raise refusals.timed_out(self._route.model.timeout_s)
        if self._stage is Stage.RELAYING and not self._exchange.connection.writable:
            self._waiting_since = now  # it is the client who keeps everybody waiting
        elif self._stage is Stage.RELAYING and now - self._waiting_since > self._route.model.stream_idle_s:
            raise refusals.stalled(self._route.model.stream_idle_s)

    def read_on(self, reading: bool) -> None:
        """Passes on that the client takes more of the answer, or no more for now."""
        if self._upstream is not None:
            self._upstream.read_on(reading)

    def release(self) -> None:
        """Gives the connection back if its answer is complete, and closes it otherwise."""
        released = self._stage is Stage.RELEASED
        self._stage = Stage.RELEASED
        self._exchange.connection.hold(HOLD_UPSTREAM | HOLD_CONNECTING, False)
        if released or self._upstream is None or self._target is None:
            return
        server = self._exchange.server
        server.plane.router.ended(self._target)
        if self._exchange.body.complete:
            server.pool.give_back(self._target, self._upstream)
        else:
            self._upstream.close()
        self._upstream = None

    # The upstream connection's side.

    def upstream_progressed(self) -> None:
        """Relays what arrived."""
        raise NotImplementedError

    def upstream_lost(self) -> None:
        """The server went away in the middle: an honest error, since the request may have run."""
        if self._stage is not Stage.RELEASED:
            if not self._answered_at and self._target is not None:
                self._died(self._target)
            self._exchange.refuse(upstream_failed(refusals.RESET, "upstream.reset", ErrorKind.UPSTREAM))

    def upstream_writable(self, writable: bool) -> None:
        """Passes back-pressure on to the client."""
        self._blocked = not writable
        self._waiting_since = time.perf_counter()
        self._exchange.connection.hold(HOLD_UPSTREAM, not writable)

    # Inside.

    def _died(self, target: ServerEntry) -> None:
        """Takes note of a server that went away without an answer."""
        self._exchange.server.plane.router.failed(target)

    def _progressed(self) -> UpstreamConnection | None:
        """Notes when an answer begins; the connection it comes by, None once the exchange is over."""
        if self._upstream is not None and not self._answered_at:
            self._answered_at = time.perf_counter()
            router = self._exchange.server.plane.router
            if router.unreachable and self._target is not None:
                router.answered(self._target)
        return self._upstream

    def _find_server(self) -> None:
        """Takes a connection to the best server, or starts opening one."""
        server = self._exchange.server
        target = server.plane.router.pick(self._route, self._tried, self._exchange.body.sequence)
        if target is None:
            raise refusals.no_server(self._route.model.slug, self._route.version.number)
        upstream = server.pool.take(target)
        if upstream is not None:
            self._reused = True
            self._begin(target, upstream)
        else:
            self._stage = Stage.CONNECTING
            server.spawn(self._connect(target))

    async def _connect(self, target: ServerEntry) -> None:
        """Opens a connection to a server; one that refuses has certainly run nothing, so the next is tried."""
        server, tried = self._exchange.server, self._tried
        while True:
            try:
                upstream = await server.pool.connect(target)
                break
            except OSError:
                server.plane.router.failed(target)
                tried.append(target.id)
            another = server.plane.router.pick(self._route, tried, self._exchange.body.sequence)
            if another is None or self._stage is Stage.RELEASED:
                self._exchange.refuse(
                    upstream_failed(refusals.UNREACHABLE, "upstream.unreachable", ErrorKind.UNAVAILABLE)
                )
                return
            target = another
        if self._stage is Stage.RELEASED:
            upstream.close()
            return
        self._exchange.connection.hold(HOLD_CONNECTING, False)
        self._reused = False
        self._begin(target, upstream)

    def _begin(self, target: ServerEntry, upstream: UpstreamConnection) -> None:
        self._target, self._upstream = target, upstream
        self._exchange.server.plane.router.began(target)
        upstream.begin(self)
        upstream.read_on(self._exchange.connection.writable)
        self._forwarded_at = self._waiting_since = time.perf_counter()
        self._send(upstream, target)

    def _send(self, upstream: UpstreamConnection, target: ServerEntry) -> None:
        raise NotImplementedError

    def _overhead_s(self) -> float:
        """The gateway's own time: before the server was asked, and since its answer began."""
        before = self._forwarded_at - self._exchange.connection.received_at
        return max(before, 0.0) + time.perf_counter() - self._answered_at

    def _answer_whole(self, upstream: UpstreamConnection, body: bytes, cause: Cause) -> None:
        """Passes on an answer that was read, and perhaps rewritten, as a whole."""
        self._finish_whole(upstream.status, b"".join(upstream.headers), body, cause)

    def _finish_whole(self, status: int, headers: bytes, body: bytes, cause: Cause) -> None:
        if status >= 400:
            code = b"model.rejected" if cause is Cause.REQUEST else b"model.failed"
            headers += b"X-Error-Code: %b\r\n" % code
        encoding = self._exchange.encoding_for(len(body))
        if encoding:
            body = compression.compress(body, encoding)
            headers += compression.headers(encoding)
        chunk = b"" if self._exchange.head.method == b"HEAD" else body
        framing = b"%bContent-Length: %d\r\n" % (headers, len(body))
        head = self._exchange.head_of_answer(status, framing, self._overhead_s())
        self._exchange.finish([head + chunk], len(chunk), status, cause)

    def _whole_error(self, upstream: UpstreamConnection) -> None:
        """Passes on an error with the public name in its text, unless another server may have what this one lacks."""
        body = b"".join(upstream.take())
        if lacks_version(upstream.status, body) and self._ask_another():
            return
        body = self._route.restore_error(body)
        if (sequence := self._exchange.body.sequence) is not None:
            body = body.replace(str(sequence.inner).encode(), msgspec.json.encode(str(sequence.given))[1:-1])
        self._finish_error(upstream, body)

    def _finish_error(self, upstream: UpstreamConnection, body: bytes) -> None:
        self._answer_whole(upstream, body, cause_of_http(upstream.status, error_text(body)))

    def _can_resend(self) -> bool:
        """Whether the request is still there in full."""
        raise NotImplementedError

    def _ask_another(self) -> bool:
        """Sends the request to another server, because this one said that it did not run it; false if there is none."""
        server, target, upstream = self._exchange.server, self._target, self._upstream
        if target is None or upstream is None:
            return False
        router = server.plane.router
        router.missing(target, self._route)
        self._tried.append(target.id)
        if not self._can_resend() or router.pick(self._route, self._tried, self._exchange.body.sequence) is None:
            return False
        router.ended(target)
        server.pool.give_back(target, upstream)
        self._upstream = self._target = None
        self._answered_at = 0.0
        self._find_server()
        return True


_error_decoder = msgspec.json.Decoder(dict[str, str])


def error_text(body: bytes) -> str:
    """The message in Triton's form of an error; empty where there is none."""
    try:
        return _error_decoder.decode(body).get("error", "")
    except msgspec.DecodeError:
        return ""


_NOT_READY = b"Request for unknown model"


def lacks_version(status: int, body: bytes) -> bool:
    """Whether a server says that it does not have a version ready, so that the request certainly did not run there.

    Source: Triton 2.51 answers 404 for a model that is not loaded and 503 for one that is being unloaded; a full queue
    is a 503 with another text.
    """
    return status == 404 or (status == 503 and _NOT_READY in body[:256])


def total(chunks: Iterable[bytes]) -> int:
    """Bytes in all chunks."""
    return sum(map(len, chunks))
