"""Questions about a model (metadata, configuration, readiness): asked of a server, answered under the public name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.refusals import RefusedError, upstream_failed
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.targets import Endpoint, Target
from controlplane.gateway.protocol.http.forwarding import MAX_HELD_ANSWER_BYTES, Forwarding, Stage, total
from controlplane.gateway.upstream.connection import UpstreamConnection
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import ServerEntry
from controlplane.wire.usage import Cause

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange

_SUFFIX = {Endpoint.MODEL_METADATA: b"", Endpoint.MODEL_CONFIG: b"/config", Endpoint.MODEL_READY: b"/ready"}
_metadata_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class QueryForwarding(Forwarding):
    """Asks a server something that may be asked twice."""

    __slots__ = ("_endpoint", "_retried", "_versions")

    def __init__(self, exchange: Exchange, route: Route, target: Target) -> None:
        super().__init__(exchange, route)
        self._endpoint = target.endpoint
        self._versions = route.public_versions(asked_for=target.version)
        self._retried = False

    def advance(self) -> None:
        """Asks; a body that came with the question is not read.

        Raises:
            RefusedError: no server has the version.
        """
        self._exchange.body.chunks.clear()
        if self._stage is Stage.COLLECTING:
            self._find_server()

    def _send(self, upstream: UpstreamConnection, target: ServerEntry) -> None:
        upstream.write(
            b"GET %b%b HTTP/1.1\r\nHost: %b\r\nAccept-Encoding: identity\r\n%b\r\n"
            % (
                self._route.base_path,
                _SUFFIX[self._endpoint],
                target.http.encode(),
                b"".join(line for line in self._exchange.head.forwarded if not line.lower().startswith(b"content-")),
            )
        )
        self._stage = Stage.WAITING

    def upstream_progressed(self) -> None:
        """Answers once everything arrived."""
        upstream = self._progressed()
        if upstream is None:
            return
        if not upstream.complete:
            if total(upstream.chunks) > MAX_HELD_ANSWER_BYTES:
                self._exchange.refuse(_bad_answer())
        elif upstream.status >= 400:
            self._whole_error(upstream)
        else:
            try:
                body = self._under_public_name(b"".join(upstream.take()))
            except msgspec.DecodeError:
                self._exchange.refuse(_bad_answer())
                return
            self._answer_whole(upstream, body, Cause.OK)

    def upstream_lost(self) -> None:
        """Asks again where a kept connection turned out to be closed."""
        if not self._reused or self._retried or self._answered_at or self._target is None:
            super().upstream_lost()
            return
        self._retried = True
        self._exchange.server.plane.router.ended(self._target)
        self._upstream = self._target = None
        try:
            self._find_server()
        except RefusedError as refusal:
            self._exchange.refuse(refusal)

    def _can_resend(self) -> bool:
        return True

    def _under_public_name(self, body: bytes) -> bytes:
        if self._endpoint is Endpoint.MODEL_CONFIG:
            return self._route.restore_config(body)
        if self._endpoint is Endpoint.MODEL_METADATA:
            fields = _metadata_decoder.decode(body)
            fields["name"] = msgspec.Raw(msgspec.json.encode(self._route.model.slug))
            fields["versions"] = msgspec.Raw(msgspec.json.encode(self._versions))
            return msgspec.json.encode(fields)
        return body


def _bad_answer() -> RefusedError:
    return upstream_failed(refusals.BROKEN_ANSWER, "upstream.bad_answer", ErrorKind.UPSTREAM)
