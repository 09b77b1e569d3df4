"""The agent's side of a journal: read what is committed, send it in batches, and know for sure what arrived.

A batch is begun by writing its span and then its number, so a batch is either not begun or begun with that span; it is
acknowledged by one word. An agent that dies anywhere in between leaves a journal whose batch in flight the next agent
sends again under the same number with the same records, and the receiver counts each number once.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import uuid
from pathlib import Path
from typing import NamedTuple

from controlplane.gateway.journal.format import (
    HEADER_BYTES,
    RECORD_BYTES,
    STAGING_SUFFIX,
    SUFFIX,
    WORD_ACKNOWLEDGED,
    WORD_BATCH,
    WORD_CAPACITY,
    WORD_COMMITTED,
    WORD_ID,
    WORD_OBSERVED,
    WORD_SHIPPED,
    WORD_SPANS,
    Span,
    check_header,
    header_words,
)
from controlplane.wire.errors import InvalidError


class BatchSpan(NamedTuple):
    """Batch `number` of a journal covers the records [first, end)."""

    number: int
    first: int
    end: int


class JournalReader:
    """One journal as the agent sees it; only one agent may have it open."""

    def __init__(self, path: Path) -> None:
        """Maps a journal.

        Raises:
            InvalidError: the file is no journal of this release.
            FileNotFoundError: it is gone.
        """
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(self._fd).st_size
            if size <= HEADER_BYTES:
                raise InvalidError("A file in the journal folder is no journal.", code="journal.malformed")
            self._mapping = mmap.mmap(self._fd, size)
            self._words = header_words(self._mapping)
            check_header(self._words, size)
        except InvalidError:
            os.close(self._fd)
            raise
        self._records = memoryview(self._mapping)[HEADER_BYTES:]
        self._capacity: int = self._words[WORD_CAPACITY]
        self.journal_id = uuid.UUID(int=(self._words[WORD_ID] << 64) | self._words[WORD_ID + 1]).hex
        self._settle_shipped()

    @property
    def committed(self) -> int:
        """Records complete so far."""
        return int(self._words[WORD_COMMITTED])

    @property
    def shipped(self) -> int:
        """Records that the control plane acknowledged."""
        return int(self._words[WORD_SHIPPED])

    @property
    def observed(self) -> int:
        """Records that metrics have counted."""
        return int(self._words[WORD_OBSERVED])

    @observed.setter
    def observed(self, index: int) -> None:
        self._words[WORD_OBSERVED] = index

    @property
    def batch(self) -> BatchSpan | None:
        """The batch that was begun and not acknowledged."""
        number = int(self._words[WORD_BATCH])
        return None if self._words[WORD_ACKNOWLEDGED] == number else BatchSpan(number, *self._span_of(number))

    def begin_batch(self, end: int) -> BatchSpan:
        """Begins the next batch, up to that record; it must be sent until it is acknowledged.

        Invariants: no batch is in flight, and shipped < end <= committed.
        """
        number, first = self._words[WORD_BATCH] + 1, self.shipped
        if self.batch is not None or not first < end <= self.committed:
            raise ValueError(f"Batch {number} of journal {self.journal_id} cannot end at {end}.")
        slot = WORD_SPANS + 2 * (number % 2)
        self._words[slot], self._words[slot + 1] = first, end
        self._words[WORD_BATCH] = number
        return BatchSpan(number, first, end)

    def acknowledge_batch(self) -> None:
        """Notes that the batch in flight arrived; the owner may now write over its records."""
        self._words[WORD_ACKNOWLEDGED] = self._words[WORD_BATCH]
        self._settle_shipped()

    def read(self, span: Span) -> bytes:
        """The records of a span, one after the other; they must be committed and not yet shipped."""
        first, end = (index % self._capacity * RECORD_BYTES for index in span)
        if span.first == span.end:
            return b""
        if first < end:
            return bytes(self._records[first:end])
        return bytes(self._records[first:]) + bytes(self._records[:end])

    def take_over(self) -> bool:
        """Whether the owner gave the journal up or died, so that nothing more will be committed."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def delete(self) -> None:
        """Removes the file; it must be taken over and fully shipped."""
        if self.shipped != self.committed:
            raise ValueError(f"Journal {self.journal_id} has records that were not shipped.")
        self.path.unlink()

    def close(self) -> None:
        """Lets go of the file."""
        self._words.release()
        self._records.release()
        self._mapping.close()
        os.close(self._fd)

    def _span_of(self, number: int) -> Span:
        slot = WORD_SPANS + 2 * (number % 2)
        return Span(int(self._words[slot]), int(self._words[slot + 1]))

    def _settle_shipped(self) -> None:
        # `shipped` follows from the acknowledged batch; it is a word of its own only so that the owner finds it.
        self._words[WORD_SHIPPED] = self._span_of(int(self._words[WORD_ACKNOWLEDGED])).end


def find_journals(directory: Path) -> list[Path]:
    """The journals in a folder, oldest first."""
    found = []
    for path in directory.glob(f"*{SUFFIX}"):
        try:
            found.append((path.stat().st_ctime_ns, path))
        except FileNotFoundError:
            continue
    return [path for _, path in sorted(found)]


def remove_unfinished(directory: Path) -> None:
    """Removes files whose creator died before they were journals; run it while no worker of this folder starts."""
    for path in directory.glob(f"*{STAGING_SUFFIX}"):
        path.unlink(missing_ok=True)
