"""Turns one journal into the batches that the control plane counts, and the digests that metrics are made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from controlplane.gateway.journal.format import Span
from controlplane.gateway.journal.reader import JournalReader
from controlplane.gateway.journal.sums import Digest, UsageSums, digest_records
from controlplane.wire.usage import FORMAT, UsageBatch

READ_RECORDS = 4096
"""Read at once: some 8 ms of adding up."""
MAX_ROWS = 5000
"""A batch is closed once it has so many rows; it may pass this by what one read adds. About 1 MB of JSON."""


class _Chunk:
    """Usage up to a record, waiting to become a batch."""

    def __init__(self) -> None:
        self.usage = UsageSums()
        self.end = 0


class BatchSource:
    """The batches of one journal, in order, each again and again until it is acknowledged."""

    def __init__(self, journal: JournalReader, gateway: str) -> None:
        self.journal = journal
        self._gateway = gateway
        self._chunks: deque[_Chunk] = deque()
        self._in_flight: UsageBatch | None = None
        begun = journal.batch
        self._cursor = begun.end if begun else journal.shipped

    @property
    def unshipped(self) -> int:
        """Records that the control plane has not acknowledged."""
        return self.journal.committed - self.journal.shipped

    def observe(self, measure: Callable[[Digest], None]) -> bool:
        """Reads on by at most `READ_RECORDS`; whether there was anything to read.

        Args:
            measure: is given each record once, also over restarts of the agent.
        """
        seen = self.journal.observed
        end = min(self.journal.committed, self._cursor + READ_RECORDS)
        if self._cursor < seen:
            end = min(end, seen)
        if end == self._cursor:
            return False
        digest = digest_records(self.journal.read(Span(self._cursor, end)))
        if self._cursor >= seen:
            measure(digest)
            self.journal.observed = end
        self._cursor = end
        chunk = self._open_chunk()
        chunk.usage.absorb(digest)
        chunk.end = end
        return True

    def next_batch(self) -> UsageBatch | None:
        """The batch to send now: the one in flight, else a new one of what was observed, else None."""
        if self._in_flight is None:
            self._in_flight = self._interrupted_batch() or self._new_batch()
        return self._in_flight

    def acknowledge(self) -> None:
        """Notes that the control plane has the batch in flight."""
        self.journal.acknowledge_batch()
        self._in_flight = None

    def retire(self) -> bool:
        """Deletes the journal if nothing is left of it and nobody will add to it; whether it did."""
        if self.journal.shipped != self.journal.committed or not self.journal.take_over():
            return False
        if self.journal.shipped != self.journal.committed:  # its owner's last words came before the lock was ours
            return False
        self.journal.delete()
        self.journal.close()
        return True

    def _open_chunk(self) -> _Chunk:
        if not self._chunks or len(self._chunks[-1].usage) >= MAX_ROWS:
            self._chunks.append(_Chunk())
        return self._chunks[-1]

    def _interrupted_batch(self) -> UsageBatch | None:
        begun = self.journal.batch
        if begun is None:
            return None
        usage = UsageSums()
        for first in range(begun.first, begun.end, READ_RECORDS):
            usage.absorb(digest_records(self.journal.read(Span(first, min(first + READ_RECORDS, begun.end)))))
        return self._batch(begun.number, begun.first, begun.end, usage)

    def _new_batch(self) -> UsageBatch | None:
        if not self._chunks:
            return None
        chunk = self._chunks.popleft()
        return self._batch(*self.journal.begin_batch(chunk.end), chunk.usage)

    def _batch(self, number: int, first: int, end: int, usage: UsageSums) -> UsageBatch:
        return UsageBatch(
            format=FORMAT,
            gateway=self._gateway,
            journal=self.journal.journal_id,
            number=number,
            first=first,
            end=end,
            rows=usage.rows(),
        )
