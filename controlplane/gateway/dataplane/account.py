"""The record of a request: opened when it arrives, settled before its last byte leaves."""

from __future__ import annotations

import time

from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.journal import Journal
from controlplane.wire.snapshot import KeyEntry
from controlplane.wire.usage import RECORD, Arm, Cause, Protocol

_U16 = 2**16 - 1
_U32 = 2**32 - 1


class Account:
    """What is known so far of one request for inference.

    Settled exactly once, whatever happens to the request. Sizes are of bodies as they are on the client's wire, without
    heads. `forwarded_at` and `answered_at` are readings of `time.perf_counter`; the upstream's time is between them.
    """

    __slots__ = (
        "answered_at",
        "arm",
        "batched",
        "bytes_in",
        "bytes_out",
        "forwarded_at",
        "key",
        "model",
        "protocol",
        "rows",
        "settled",
        "started_at",
        "version",
    )

    def __init__(self, protocol: Protocol, started_at: float) -> None:
        self.protocol = protocol
        self.started_at = started_at
        self.forwarded_at = self.answered_at = 0.0
        self.key = self.model = self.version = 0
        self.rows = 1
        self.batched = False
        self.bytes_in = self.bytes_out = 0
        self.arm = Arm.STABLE
        self.settled = False

    def of_key(self, key: KeyEntry) -> None:
        """Notes who asks."""
        self.key = key.number

    def of_route(self, route: Route) -> None:
        """Notes what is asked for."""
        self.model = route.model.number
        self.version = route.version.number
        self.arm = route.arm
        self.batched = route.version.batched

    def settle(self, journal: Journal, status: int, cause: Cause) -> None:
        """Appends the record; a second call does nothing.

        Args:
            status: of HTTP, or the one that a gRPC status code amounts to.

        Raises:
            JournalFullError: it cannot be kept, so the request must not be served.
        """
        if self.settled:
            return
        self.settled = True
        now = time.perf_counter()
        upstream_s = (self.answered_at or now) - self.forwarded_at if self.forwarded_at else 0.0
        journal.append(
            RECORD.pack(
                time.time_ns() // 1000,
                self.key,
                self.model,
                self.version,
                min(self.rows, _U32) if self.batched else 1,
                min(int((now - self.started_at) * 1e6), _U32),
                min(int(upstream_s * 1e6), _U32),
                self.bytes_in,
                self.bytes_out,
                min(status, _U16),
                self.arm,
                cause,
                self.protocol,
            )
        )
