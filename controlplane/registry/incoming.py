"""Files that arrive piece by piece, from one writer at a time, over any number of requests, processes and crashes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READ_BYTES = 1024 * 1024
SYNC_BYTES = 64 * 1024 * 1024
"""So much may be in the page cache only, so that the sync at the end of a long request is short."""


class IncomingFile:
    """A file on its way into the store. Nothing but its size says how far it has come."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def durable_size(self) -> int:
        """How many bytes are on disk and survive a loss of power; 0 where no byte came."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return 0
        try:
            # The size first: what is written after it is not yet on disk when this returns.
            size = os.fstat(descriptor).st_size
            os.fdatasync(descriptor)
            return size
        finally:
            os.close(descriptor)

    @contextmanager
    def writing(self) -> Iterator[IncomingWriter]:
        """Makes the caller the only writer, and the file exist, while the context lasts.

        The lock is the kernel's (flock): it ends with its holder, whatever way that ends.

        Raises:
            BlockingIOError: another process or thread writes to it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink == 0:
                raise BlockingIOError("The file was removed by the writer before.")
            yield IncomingWriter(self._path, descriptor)
        finally:
            os.close(descriptor)

    def age_s(self) -> float:
        """How long ago the last byte came; 0 where there is no file."""
        try:
            return time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o600)
        except PermissionError:  # sealed already: nobody opens it for writing, but it can be locked and removed
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


class IncomingWriter:
    """The one writer of an incoming file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._not_synced_bytes = 0

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return os.fstat(self._descriptor).st_size

    def append(self, piece: bytes) -> None:
        """Writes at the end of the file. Where the disk has no room left, what fits stays.

        Raises:
            OSError: the disk refused.
        """
        rest, position = memoryview(piece), self.size
        while rest:
            written = os.pwrite(self._descriptor, rest, position)
            rest, position = rest[written:], position + written
        self._not_synced_bytes += len(piece)
        if self._not_synced_bytes >= SYNC_BYTES:
            self.sync()

    def sync(self) -> None:
        """Returns once every byte is on disk."""
        os.fdatasync(self._descriptor)
        self._not_synced_bytes = 0

    def cut(self, size: int) -> None:
        """Takes back everything behind the first `size` bytes."""
        os.ftruncate(self._descriptor, size)

    def seal(self) -> str:
        """Ends writing for ever: makes the file read-only and durable, and returns its SHA-256, read from the disk."""
        digest, position = hashlib.sha256(), 0
        while piece := os.pread(self._descriptor, READ_BYTES, position):
            digest.update(piece)
            position += len(piece)
        os.fchmod(self._descriptor, stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        os.fsync(self._descriptor)
        return digest.hexdigest()

    def remove(self) -> None:
        """Removes the file; waiting writers learn that it is gone."""
        self._path.unlink(missing_ok=True)
