"""The worker's side of the journal: append a record, then move the commit cursor."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import uuid
from pathlib import Path

from controlplane.gateway.journal.format import (
    HEADER_BYTES,
    MAGIC,
    RECORD_BYTES,
    STAGING_SUFFIX,
    SUFFIX,
    WORD_CAPACITY,
    WORD_COMMITTED,
    WORD_ID,
    WORD_MAGIC,
    WORD_RECORD_BYTES,
    WORD_SHIPPED,
    file_bytes,
    header_words,
)
from controlplane.wire.errors import ControlPlaneError, ErrorKind

logger = logging.getLogger(__name__)

DEFAULT_CAPACITY = 2**18
"""16 MiB: at 2,000 requests a second two minutes without the control plane before a second file is needed."""


class JournalFullError(ControlPlaneError):
    """The record cannot be kept: the ring is full and the disk has no room for another. Do not serve uncounted."""

    kind = ErrorKind.UNAVAILABLE
    code = "journal.full"


class Journal:
    """Keeps the records of one worker in a mapped ring that the agent empties.

    When the agent falls a whole ring behind (the control plane is down), nothing is overwritten: the full file is
    closed, which hands it to the agent to ship and delete, and the journal goes on in a new file with an identity of
    its own. Files are allocated when created, so a full disk shows there as an error and not in `append` as a signal.

    Not safe for threads: one journal, one event loop.

    Attributes:
        journal_id: identity of the file now written to, a UUID in hex.
    """

    journal_id: str
    _fd: int
    _mapping: mmap.mmap
    _words: memoryview
    _next: int  # index of the next record
    _limit: int  # index at which the ring is full, as far as was last looked
    _offset: int  # of the next record in the file

    def __init__(self, directory: Path, capacity: int) -> None:
        self._directory = directory
        self._capacity = capacity
        self._end = file_bytes(capacity)
        self._open_file()

    @classmethod
    def create(cls, directory: Path, capacity: int = DEFAULT_CAPACITY) -> Journal:
        """Starts an empty journal in a folder, which is made where it is missing.

        Raises:
            JournalFullError: the disk has no room for it.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(directory, capacity)

    def append(self, packed: bytes) -> None:
        """Keeps one record of `wire.usage.pack_record`; it is counted once this returns, whatever dies next.

        Raises:
            JournalFullError: there is no room for it; the record is not kept.
        """
        if self._next == self._limit:
            self._make_room()
        offset = self._offset
        end = offset + RECORD_BYTES
        self._mapping[offset:end] = packed
        self._offset = end if end != self._end else HEADER_BYTES
        self._next = self._words[WORD_COMMITTED] = self._next + 1

    def close(self) -> None:
        """Gives the journal up to the agent, which ships the rest and deletes it."""
        self._words.release()
        self._mapping.close()
        os.close(self._fd)

    def _make_room(self) -> None:
        self._limit = self._words[WORD_SHIPPED] + self._capacity
        if self._next < self._limit:
            return
        full_words, full_mapping, full_fd = self._words, self._mapping, self._fd
        self._open_file()
        full_words.release()
        full_mapping.close()
        os.close(full_fd)
        logger.warning("The usage journal is full because shipping is behind; going on in another file.")

    def _open_file(self) -> None:
        identity = uuid.uuid4()
        fd = _allocate(self._directory, identity.hex, self._end)
        mapping = mmap.mmap(fd, self._end)
        words = header_words(mapping)
        words[WORD_MAGIC] = MAGIC
        words[WORD_RECORD_BYTES] = RECORD_BYTES
        words[WORD_CAPACITY] = self._capacity
        words[WORD_ID], words[WORD_ID + 1] = identity.int >> 64, identity.int & (2**64 - 1)
        # Only now does it get the name the agent looks for: locked and complete.
        staging = self._directory / (identity.hex + STAGING_SUFFIX)
        staging.rename(self._directory / (identity.hex + SUFFIX))
        self.journal_id = identity.hex
        self._fd, self._mapping, self._words = fd, mapping, words
        self._next, self._limit, self._offset = 0, self._capacity, HEADER_BYTES


def _allocate(directory: Path, name: str, size: int) -> int:
    """A locked file of that size under its staging name, as a descriptor."""
    path = directory / (name + STAGING_SUFFIX)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        path.unlink()
        os.close(fd)
        raise JournalFullError("There is no room on the gateway's disk for the record of this request.") from error
    return fd
