"""Ships usage: every journal in the folder, whoever wrote it, whether its owner lives or not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from controlplane.gateway.agent.backoff import Backoff, Complaint
from controlplane.gateway.agent.control import RefusedError
from controlplane.gateway.journal.batches import BatchSource
from controlplane.gateway.journal.reader import JournalReader, find_journals, remove_unfinished
from controlplane.gateway.journal.sums import Digest
from controlplane.wire.errors import ControlPlaneError, InvalidError
from controlplane.wire.usage import UsageBatch

logger = logging.getLogger(__name__)

SHIP_EVERY_S = 1.0


class UsageReceiver(Protocol):
    """Whoever counts: the control plane."""

    async def send_usage(self, batch: UsageBatch) -> None:
        """Returns once the batch is counted, now or before; raises a `ControlPlaneError` else."""


class Shipper:
    """Brings every committed record to the control plane and to the metrics, each exactly once.

    Attributes:
        batches: batches that arrived. records: the records in them.
    """

    def __init__(
        self, directory: Path, receiver: UsageReceiver, *, gateway: str, measure: Callable[[Digest], None]
    ) -> None:
        self.batches = 0
        self.records = 0
        self._directory = directory
        self._receiver = receiver
        self._gateway = gateway
        self._measure = measure
        self._sources: dict[Path, BatchSource] = {}
        self._unreadable: set[Path] = set()
        self._refused_until: dict[Path, float] = {}
        self._backoff = Backoff(0.5, 30.0)
        self._complaint = Complaint(
            logger, "Usage cannot be delivered; it is kept on disk.", "Usage is delivered again."
        )

    @property
    def unshipped(self) -> int:
        """Records that the control plane has not acknowledged."""
        return sum(source.unshipped for source in self._sources.values())

    def prepare(self) -> None:
        """Makes the folder and clears it of what never became a journal; before the first worker starts."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_unfinished(self._directory)

    async def run(self) -> None:
        """Ships until cancelled."""
        while True:
            wait_s = SHIP_EVERY_S
            try:
                await self.ship()
            except ControlPlaneError as error:
                self._complaint.report(error.message)
                wait_s = self._backoff.fail()
            except Exception:
                logger.exception("Shipping usage failed.")
            await asyncio.sleep(wait_s)

    async def ship(self) -> None:
        """Delivers what is committed now.

        Raises:
            ControlPlaneError: the control plane takes nothing at the moment; everything is kept.
        """
        self._discover()
        for path, source in list(self._sources.items()):
            while source.observe(self._measure):  # noqa: ASYNC110 - reads a long backlog in pieces, waits for nothing
                await asyncio.sleep(0)
            if time.monotonic() >= self._refused_until.get(path, 0.0):
                await self._ship_source(path, source)
            if source.retire():
                del self._sources[path]

    async def ship_rest(self, within_s: float) -> None:
        """Delivers what the exited workers left, if the control plane takes it in time; else the next agent does."""
        try:
            async with asyncio.timeout(within_s):
                await self.ship()
        except (ControlPlaneError, TimeoutError):
            logger.warning("Usage is left on disk for the next start.", extra={"records": self.unshipped})

    def observe(self) -> None:
        """Brings the metrics up to date, without waiting for anything."""
        self._discover()
        for source in self._sources.values():
            source.observe(self._measure)

    def close(self) -> None:
        """Lets go of the journals."""
        for source in self._sources.values():
            source.journal.close()
        self._sources.clear()

    async def _ship_source(self, path: Path, source: BatchSource) -> None:
        while batch := source.next_batch():
            try:
                await self._receiver.send_usage(batch)
            except RefusedError as error:
                # This batch alone is at fault; the other journals go on.
                logger.warning(
                    "The control plane refuses a batch of usage; it is kept and sent again.",
                    extra={"journal": batch.journal, "batch": batch.number, "reason": error.message},
                )
                self._refused_until[path] = time.monotonic() + 30.0
                return
            source.acknowledge()
            self._backoff.succeed()
            self._complaint.settle()
            self.batches += 1
            self.records += batch.end - batch.first

    def _discover(self) -> None:
        for path in find_journals(self._directory):
            if path in self._sources or path in self._unreadable:
                continue
            try:
                self._sources[path] = BatchSource(JournalReader(path), self._gateway)
            except InvalidError as error:
                self._unreadable.add(path)
                logger.warning(error.message, extra={"file": path.name})
