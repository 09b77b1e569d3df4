"""The one function that every importer writes through."""

import io
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol, cast

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.findings import Finding
from model_repository_tools.paths import SafePaths, safe_relative_path
from model_repository_tools.unpacking.limits import UnpackLimits
from model_repository_tools.unpacking.report import RefusedError, UnpackedFile, refused

_SMALLER = "upload only the files that are needed to serve the model"


class Sink(Protocol):
    """Takes one file. Must read `stream` to its end, and let what it raises pass."""

    def __call__(self, path: PurePosixPath, stream: BinaryIO) -> None:
        """Take the file `path`."""


class SafeWriter:
    """Hands files to a sink, and is the only way to it.

    Invariants:
        A name reaches the sink only if it stays inside its folder and cannot be taken for another one.
        The sink never gets more bytes than the limits allow, whatever the archive claims.
        Memory does not grow with the files, only with their number.
    """

    def __init__(self, sink: Sink, limits: UnpackLimits, archive_bytes: int | None) -> None:
        """Begin an import. `archive_bytes` bounds the expansion; None where nothing is compressed."""
        self._sink = sink
        self._limits = limits
        self._budget = limits.max_total_bytes if archive_bytes is None else limits.expanded_bytes(archive_bytes)
        self._paths = SafePaths()
        self._entries = 0
        self._files: list[UnpackedFile] = []

    @property
    def files(self) -> tuple[UnpackedFile, ...]:
        """What the sink took so far."""
        return tuple(self._files)

    def folder(self, name: str) -> None:
        """Judge a folder's name. Nothing is created: folders come into being with their files."""
        self._count(name)
        _judge(name, safe_relative_path)

    def file(self, name: str, source: BinaryIO, declared_bytes: int) -> None:
        """Hand one file to the sink.

        Args:
            name: As the archive has it.
            source: Its bytes.
            declared_bytes: What the archive says it holds: more than allowed is refused before a byte is read, and any
                other number of bytes is refused afterwards.

        Raises:
            RefusedError: The name or the size is not acceptable, or the archive is damaged.
        """
        self._count(name)
        path = _judge(name, self._paths.add)
        self._check_size(name, declared_bytes)
        metered = _Metered(source, lambda size_bytes: self._check_size(name, size_bytes))
        self._sink(path, cast(BinaryIO, io.BufferedReader(metered, 1 << 20)))
        if metered.refusal is not None:
            raise metered.refusal
        if metered.size_bytes != declared_bytes:
            raise refused("damaged", name, f"{name!a:.100} does not have the size it declares", "upload it again")
        self._budget -= metered.size_bytes
        self._files.append(UnpackedFile(str(path), metered.size_bytes))

    def _count(self, name: str) -> None:
        self._entries += 1
        if self._entries > self._limits.max_entries:
            raise refused("too_many_files", name, f"it holds more than {self._limits.max_entries} files", _SMALLER)

    def _check_size(self, name: str, size_bytes: int) -> None:
        if size_bytes > self._limits.max_file_bytes:
            message = f"{name!a:.100} is larger than {self._limits.max_file_bytes:,} bytes"
            raise refused("file_too_large", name, message, _SMALLER)
        if size_bytes > self._budget:
            message = "unpacked, it is larger than is allowed in all, or than its own size makes plausible"
            raise refused("too_large", name, message, _SMALLER)


class _Metered(io.RawIOBase):
    """A stream that stops at its limit, also for a sink that swallows the error."""

    def __init__(self, source: BinaryIO, check: Callable[[int], None]) -> None:
        self._source = source
        self._check = check
        self.size_bytes = 0
        self.refusal: RefusedError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        if self.refusal is not None:
            raise self.refusal
        try:
            piece = self._source.read(len(buffer))
            self._check(self.size_bytes + len(piece))
        except RefusedError as error:
            self.refusal = error
            raise
        self.size_bytes += len(piece)
        buffer[: len(piece)] = piece
        return len(piece)


def _judge(name: str, judge: Callable[[str], PurePosixPath]) -> PurePosixPath:
    try:
        return judge(name)
    except UnsafePathError as error:
        fix = "pack the files again under plain, relative names"
        raise RefusedError(Finding(error.code, ascii(name[:100])[1:-1], str(error), fix)) from error
