"""The metadata of a call: what the client sent, what a server may see of it, and what the client gets back."""

from __future__ import annotations

import time
from collections.abc import Iterable

from controlplane.gateway.dataplane.plane import DataPlane
from controlplane.gateway.dataplane.route import Route

_NOT_FORWARDED = frozenset(
    {
        "authorization",
        "x-api-key",
        "cookie",
        "user-agent",
        "te",
        "content-type",
        "host",
        "triton-control",
        "x-request-id",
    }
)
_NOT_FORWARDED_PREFIXES = ("grpc-", "triton-grpc-protocol-", ":")
_MAX_ID_CHARS = 128


class CallMetadata:
    """One call, seen from its metadata.

    Attributes:
        credential: the value of `authorization`, else of `x-api-key`.
        forwarded: what goes to the server.
        route: set once the model is known.
        limit_s: how long a server may take.
        upstream_s: time spent waiting for servers.
        deadline_is_clients: whether the client's own deadline comes before the model's limit.
    """

    __slots__ = (
        "_request_id",
        "_started_at",
        "credential",
        "deadline_is_clients",
        "forwarded",
        "limit_s",
        "route",
        "upstream_s",
    )

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]] | None, started_at: float) -> None:
        self._started_at = started_at
        self._request_id = ""
        self.credential: bytes | None = None
        self.forwarded: list[tuple[str, str | bytes]] = []
        self.route: Route | None = None
        self.upstream_s = 0.0
        self.limit_s = 0.0
        self.deadline_is_clients = False
        api_key: str | bytes | None = None
        for name, value in metadata or ():
            if name == "authorization":
                self.credential = _as_bytes(value)
            elif name == "x-api-key":
                api_key = value
            elif name == "x-request-id" and isinstance(value, str) and len(value) <= _MAX_ID_CHARS:
                self._request_id = value
            elif name not in _NOT_FORWARDED and not name.startswith(_NOT_FORWARDED_PREFIXES):
                self.forwarded.append((name, value))
        if self.credential is None and api_key is not None:
            self.credential = _as_bytes(api_key)

    def restore(self, text: str) -> str:
        """A server's text under the public name."""
        return text if self.route is None else self.route.restore_text(text)

    def trailing(self, plane: DataPlane, error_code: str = "") -> tuple[tuple[str, str], ...]:
        """The metadata after an answer; the same that HTTP has as headers."""
        overhead_s = time.perf_counter() - self._started_at - self.upstream_s
        trailing = [
            ("x-request-id", self._request_id or plane.new_request_id()),
            ("x-gateway-overhead-ms", f"{overhead_s * 1000:.3f}"),
        ]
        if self.route is not None:
            trailing.append(("x-model-version", str(self.route.version.number)))
        if error_code:
            trailing.append(("x-error-code", error_code))
        return tuple(trailing)


def _as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")
