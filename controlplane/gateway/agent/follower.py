"""Follows the control plane's orders: poll, verify, hand to the workers, keep on disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from controlplane.gateway.agent.backoff import Backoff, Complaint
from controlplane.gateway.agent.control import ControlPlane
from controlplane.gateway.agent.order_book import OrderBook, encode_step
from controlplane.gateway.agent.snapshot_file import SnapshotFile
from controlplane.wire.errors import ControlPlaneError, InvalidError
from controlplane.wire.signing import Verifier
from controlplane.wire.snapshot import Snapshot, decode_snapshot

logger = logging.getLogger(__name__)

_COMPACT_EVERY_S = 60.0
_Value = TypeVar("_Value", bytes, float)


class OrderTakers(Protocol):
    """Whoever obeys the orders: the workers."""

    def send_snapshot(self, payload: bytes) -> None:
        """Hands a step to every one of them."""

    def confirm(self, at_s: float) -> None:
        """Tells every one of them that their orders are current."""

    async def applied(self, revision: int) -> None:
        """Returns once every one that serves has applied that revision."""


class SnapshotFollower:
    """Keeps the order book, the workers and the file at what the control plane says."""

    def __init__(
        self, control: ControlPlane, verifier: Verifier, book: OrderBook, file: SnapshotFile, workers: OrderTakers
    ) -> None:
        self._control = control
        self._verifier = verifier
        self._book = book
        self._file = file
        self._workers = workers
        self._ask_base = False
        self._compacted_at = 0.0
        self._backoff = Backoff(0.1, 2.0)
        self._complaint = Complaint(
            logger,
            "The orders cannot be refreshed; serving goes on with those we have.",
            "The orders are current again.",
        )
        self._disk_complaint = Complaint(
            logger, "The orders cannot be kept on disk; a restart may find older ones.", "The orders are on disk again."
        )

    def restore(self) -> None:
        """Takes the last known good orders from the disk, as far as their signatures are right."""
        try:
            for envelope in self._file.envelopes():
                self._book.apply(self._open(envelope))
            if self._book.known:
                self._book.confirmed_at_s = min(self._file.confirmed_at_s(), time.time())
        except (ControlPlaneError, OSError) as error:
            logger.warning("Part of the last known good orders is not usable.", extra={"reason": str(error)})
        if self._book.known:
            logger.info("Restored the last known good orders.", extra={"revision": self._book.revision})

    async def run(self) -> None:
        """Follows until cancelled."""
        while True:
            try:
                await self.poll()
            except InvalidError as error:
                self._ask_base = True
                self._complaint.report(error.message)
            except ControlPlaneError as error:
                self._complaint.report(error.message)
            except Exception:
                logger.exception("Following the orders failed.")
            else:
                self._backoff.succeed()
                self._complaint.settle()
                continue
            await asyncio.sleep(self._backoff.fail())

    async def poll(self) -> None:
        """Asks the control plane once and obeys.

        Raises:
            ControlPlaneError: there was no answer; `InvalidError`: it was none to obey.
        """
        await self._workers.applied(self._book.revision)
        base = self._ask_base or self._compaction_is_due()
        envelope = await self._control.fetch_snapshot(
            instance=self._book.instance, since=0 if base else self._book.revision
        )
        at_s = time.time()
        if envelope is not None:
            await self._obey(envelope)
        self._book.confirmed_at_s = at_s
        self._workers.confirm(at_s)
        await self._on_disk(self._file.confirm, at_s)

    def _open(self, envelope: bytes) -> Snapshot:
        return decode_snapshot(self._verifier.open(envelope))

    async def _obey(self, envelope: bytes) -> None:
        snapshot = await asyncio.to_thread(self._open, envelope)
        self._workers.send_snapshot(encode_step(self._book.apply(snapshot)))
        self._ask_base = False
        await self._on_disk(self._file.append if snapshot.since else self._file.replace, envelope)
        logger.info("Took new orders.", extra={"revision": snapshot.revision, "entries": len(snapshot.entries)})

    async def _on_disk(self, write: Callable[[_Value], None], value: _Value) -> None:
        try:
            await asyncio.to_thread(write, value)
        except OSError as error:
            self._disk_complaint.report(error.strerror or "unknown")
        else:
            self._disk_complaint.settle()

    def _compaction_is_due(self) -> bool:
        now = time.monotonic()
        if not (self._file.wants_base and now - self._compacted_at > _COMPACT_EVERY_S):
            return False
        self._compacted_at = now
        return True
