"""The last known good snapshot on disk: what lets a gateway start while the control plane is down.

The file is a mark, then signed envelopes, each after its length in 4 bytes: one base and the changes that followed.
Signatures are checked again when it is read, so the file is trusted no more than the network. Its modification time
says when the control plane last confirmed the last of them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MARK = b"TGWLKG1\n"
_LENGTH = struct.Struct(">I")
_MIN_GROWTH_BYTES = 1024 * 1024


class SnapshotFile:
    """One file of envelopes, appended to and now and then replaced; of mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = 0  # of what is known to be good; a torn or foreign rest is written over
        self._base_end = 0
        self._incomplete = False

    @property
    def wants_base(self) -> bool:
        """Whether a base should replace the file: it grew too long, or a change could not be written."""
        return self._incomplete or self._end - self._base_end > max(self._base_end, _MIN_GROWTH_BYTES)

    def envelopes(self) -> Iterator[bytes]:
        """The envelopes as far as they are whole; an envelope counts as good once the next is asked for."""
        self._end = self._base_end = 0
        try:
            with self.path.open("rb") as file:
                if file.read(len(_MARK)) != _MARK:
                    return
                while envelope := _read_envelope(file):
                    yield envelope
                    self._end = file.tell()
                    self._base_end = self._base_end or self._end
        except FileNotFoundError:
            return

    def confirmed_at_s(self) -> float:
        """Unix time at which the control plane last confirmed the orders in the file."""
        return self.path.stat().st_mtime

    def confirm(self, at_s: float) -> None:
        """Notes that the orders in the file were current at that time."""
        if self._end and not self._incomplete:
            os.utime(self.path, (at_s, at_s))

    def replace(self, base: bytes) -> None:
        """Starts the file again with a base; a reader sees the old file or the new one.

        Raises:
            OSError: it could not be written; the old file stands.
        """
        self._incomplete = True
        staging = self.path.with_suffix(".staging")
        staging.unlink(missing_ok=True)
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_MARK + _LENGTH.pack(len(base)) + base)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(self.path)
        self._end = self._base_end = len(_MARK) + _LENGTH.size + len(base)
        self._incomplete = False

    def append(self, changes: bytes) -> None:
        """Adds changes that follow what the file holds.

        Raises:
            OSError: they could not be written; `wants_base` says so until a base replaced the file.
        """
        if self._incomplete or not self._end:
            self._incomplete = True  # changes after a hole would be refused as a gap
            return
        self._incomplete = True
        with self.path.open("r+b") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(_LENGTH.pack(len(changes)) + changes)
            file.flush()
            os.fsync(file.fileno())
            self._end = file.tell()
        self._incomplete = False


def _read_envelope(file: BinaryIO) -> bytes | None:
    length = file.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    envelope = file.read(size)
    return envelope if len(envelope) == size else None
