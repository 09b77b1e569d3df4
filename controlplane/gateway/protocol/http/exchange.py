"""One request and its answer: from the head the client sent to the record in the journal.

Written as callbacks and not as a coroutine: a task per request costs more than all the rest of the data path.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from controlplane.gateway.dataplane.access_log import trace_id
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.refusals import RefusedError, internal, too_slow
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.targets import SIMPLE_API
from controlplane.gateway.journal import JournalFullError
from controlplane.gateway.protocol.http import answers, compression, endpoints
from controlplane.gateway.protocol.http.body import InferBody
from controlplane.gateway.protocol.http.head import RequestHead
from controlplane.wire.usage import Cause

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.connection import HttpConnection
    from controlplane.gateway.protocol.http.forwarding import Answering
    from controlplane.gateway.protocol.http.server import HttpServer

logger = logging.getLogger(__name__)

BODY_IDLE_S = 30.0
"""How long a body may stand still whose model is not known yet."""
SMALL_BODY_BYTES = 64 * 1024
"""A body up to this size is read to its end before its request is refused."""
CLIENT_CLOSED = 499
_MAX_LOGGED_PATH = 256


class Exchange:
    """A request on a client's connection and whatever answers it; ends exactly once.

    Attributes:
        refusal: set from outside when the request turns out to be wrong while it is still coming in.
        body: of the request.
        account: the request's record to be; None for requests that are not metered.
        forwarding: the server's part in it, once there is one.
        route: the version that answers, once it is known.
        ended: whether the answer, or what there will ever be of it, was handed to the connection.
    """

    __slots__ = (
        "_answer_begun",
        "_postponed",
        "_request_id",
        "account",
        "body",
        "connection",
        "ended",
        "forwarding",
        "head",
        "refusal",
        "route",
        "server",
        "started_at",
    )

    def __init__(
        self,
        connection: HttpConnection,
        server: HttpServer,
        head: RequestHead,
        started_at: float,
        refusal: RefusedError | None,
    ) -> None:
        self.connection = connection
        self.server = server
        self.head = head
        self.body = InferBody(head)
        self.refusal = refusal
        self.started_at = started_at
        self.route: Route | None = None
        self.account: Account | None = None
        self.forwarding: Answering | None = None
        self.ended = False
        self._answer_begun = False
        self._postponed: RefusedError | None = None
        self._request_id = b""

    # The connection's side.

    def start(self) -> None:
        """Begins to answer; the connection calls it when every request before this one is answered."""
        self.server.plane.in_flight += 1
        try:
            if self.refusal is not None:
                raise self.refusal
            endpoints.begin(self)
            if self.head.expects_continue and not (self.ended or self.body.received_bytes or self.body.complete):
                self.connection.write(answers.CONTINUE)
        except RefusedError as refusal:
            self.refuse(refusal)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client gets an answer
            self.fail(error)

    def advance(self) -> None:
        """Goes on after more of the request arrived."""
        if self.ended:
            return
        try:
            if self.refusal is not None:
                raise self.refusal
            if self._postponed is not None:
                self.body.chunks.clear()
                if self.body.complete:
                    raise self._postponed
                return
            if self.forwarding is not None:
                self.forwarding.advance()
        except RefusedError as refusal:
            self.refuse(refusal)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client gets an answer
            self.fail(error)

    def check(self, now: float) -> None:
        """Enforces the time limits."""
        idle_s = self.route.model.body_idle_s if self.route is not None else BODY_IDLE_S
        if not (self.body.complete or self.connection.held) and now - self.connection.received_at > idle_s:
            self.refusal = too_slow("body")
        try:
            if self.refusal is not None:
                raise self.refusal
            if self.forwarding is not None:
                self.forwarding.check(now)
        except RefusedError as refusal:
            self.refuse(refusal)

    def client_writable(self, writable: bool) -> None:
        """Passes back-pressure on to the server."""
        if self.forwarding is not None:
            self.forwarding.read_on(writable)

    def client_lost(self) -> None:
        """Drops everything: nobody waits for the answer any more."""
        if not self.ended:
            try:
                self._end(CLIENT_CLOSED, Cause.CLIENT)
            except JournalFullError:
                self.server.note_unrecorded()

    # The answering side.

    def answer(self, status: int, body: bytes, headers: bytes = b"", cause: Cause = Cause.OK) -> None:
        """Answers with a whole body, and ends."""
        if encoding := self.encoding_for(len(body)):
            body = compression.compress(body, encoding)
            headers += compression.headers(encoding)
        chunk = b"" if self.head.method == b"HEAD" else body
        head = self.head_of_answer(status, b"%bContent-Length: %d\r\n" % (headers, len(body)))
        self.finish([head + chunk], len(chunk), status, cause)

    def refuse(self, refusal: RefusedError) -> None:
        """Answers with an error of the gateway's own; cuts the connection where an answer is under way already."""
        if self.ended:
            return
        status = refusal.http_status
        if self._answer_begun:
            self._break_off(status, refusal.cause)
            return
        if self._postponed is None and self._rest_is_small():
            self._postponed = refusal
            return
        headers = answers.JSON_TYPE + answers.refusal_headers(refusal)
        if self.head.url.startswith(SIMPLE_API):
            body = answers.simple_error_body(status, refusal.message, refusal.details, refusal.code)
        else:
            body = answers.error_body(refusal.message)
        self.answer(status, body, headers, refusal.cause)

    def encoding_for(self, length: int | None) -> bytes:
        """How an answer of so many bytes, None for unknown, is to be compressed; empty for not at all."""
        if not self.head.accepts or self.head.old_http or (length is not None and length < compression.MIN_BYTES):
            return b""
        return compression.choose(self.head.accepts)

    @property
    def request_id(self) -> bytes:
        """The client's own id of the request, or one that no other request has."""
        if not self._request_id:
            self._request_id = self.head.request_id or self.server.plane.new_request_id().encode()
        return self._request_id

    def head_of_answer(self, status: int, headers: bytes, overhead_s: float | None = None) -> bytes:
        """The head of an answer with the gateway's own headers.

        Args:
            headers: complete lines, those that frame the body among them.
            overhead_s: the gateway's own share of the time so far, all of it by default.
        """
        self._answer_begun = True
        if overhead_s is None:
            overhead_s = time.perf_counter() - self.connection.received_at
        connection = answers.CLOSE
        if self.keeps_connection():
            connection = answers.KEEP_ALIVE if self.head.old_http else b""
        return b"%b%b%bX-Request-Id: %b\r\nX-Gateway-Overhead-Ms: %.3f\r\n%b\r\n" % (
            answers.status_line(status),
            headers,
            self.route.answer_headers if self.route is not None else b"",
            self.request_id,
            overhead_s * 1000,
            connection,
        )

    def finish(self, chunks: list[bytes], body_bytes: int, status: int, cause: Cause) -> None:
        """Writes the record, then the last bytes of the answer, and ends."""
        if self.ended:
            return
        if self.account is not None:
            self.account.bytes_out += body_bytes
        keep = self.keeps_connection()
        try:
            self._end(status, cause)
        except JournalFullError as error:
            self._refuse_uncounted(error)
            return
        if chunks:
            self.connection.write_all(chunks)
        self.connection.finished(self, keep)

    def keeps_connection(self) -> bool:
        """Whether another request may follow on this connection."""
        return self.body.complete and self.head.keep_alive and not self.server.draining and self.refusal is None

    def fail(self, error: Exception) -> None:
        """Answers that something went wrong here; the log says what."""
        logger.error("A request failed in the gateway itself.", exc_info=error)
        self.refuse(internal())

    def _rest_is_small(self) -> bool:
        """Whether it is worth to wait for the rest of the body, so that the connection need not be closed."""
        head = self.head
        return (
            not self.body.complete
            and self.refusal is None
            and not head.expects_continue
            and head.length is not None
            and head.length <= SMALL_BODY_BYTES
        )

    def _end(self, status: int, cause: Cause) -> None:
        """Releases what the exchange holds and appends its record."""
        self.ended = True
        self.server.plane.in_flight -= 1
        if self.forwarding is not None:
            self.forwarding.release()
        self.body.let_go()
        if self.server.plane.access_log.wants(status):
            self._log(status, cause)
        if self.account is not None:
            self.account.bytes_in = self.body.received_bytes
            self.account.settle(self.server.plane.journal, status, cause)

    def _log(self, status: int, cause: Cause) -> None:
        head, route = self.head, self.route
        self.server.plane.access_log.write(
            request_id=self.request_id.decode("latin-1"),
            method=head.method.decode("latin-1"),
            path=head.url.partition(b"?")[0][:_MAX_LOGGED_PATH].decode("latin-1"),
            status=status,
            cause=cause.name.lower(),
            model=route.model.slug if route is not None else "",
            version=route.version.number if route is not None else 0,
            key=self.account.key if self.account is not None else 0,
            duration_ms=round((time.perf_counter() - self.started_at) * 1000, 3),
            bytes_in=self.body.received_bytes,
            client=self.connection.client_address(head.forwarded_for),
            trace_id=trace_id(head.trace.decode("latin-1")),
        )

    def _break_off(self, status: int, cause: Cause) -> None:
        try:
            self._end(status, cause)
        except JournalFullError:
            self.server.note_unrecorded()
        self.connection.abort()

    def _refuse_uncounted(self, error: JournalFullError) -> None:
        """What cannot be counted is not served."""
        self.server.note_unrecorded()
        body = answers.error_body(error.message)
        head = b"%b%bContent-Length: %d\r\n%b\r\n" % (
            answers.status_line(error.http_status),
            answers.JSON_TYPE,
            len(body),
            answers.CLOSE,
        )
        self.connection.write(head + body)
        self.connection.finished(self, keep=False)
