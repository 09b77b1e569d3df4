"""Reading zip and tar archives that may be hostile: nothing is trusted but what was read.

Python's own readers are used for the formats, behind a reader that bounds what they may load at once: a header that
declares a terabyte, or ten million entries, costs an attacker's upload and no memory here.
"""

import errno
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from model_repository_tools.unpacking.limits import UnpackLimits
from model_repository_tools.unpacking.report import refused
from model_repository_tools.unpacking.writer import SafeWriter

MAX_HEADER_BYTES = 1 << 20  # of one tar entry: long names and pax records, before its first byte of content
MAX_DIRECTORY_BYTES_PER_ENTRY = 400  # of a zip: 46, the name, extra fields and a comment

_ENCRYPTED = 0x1
_TAR_MAGIC = b"ustar"
_TAR_MAGIC_AT = 257
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # LZMA's header may demand gigabytes, bzip2 gives 80 MB per 4 KB
_UPLOAD_AGAIN = "pack it again, and upload all of it"
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    RuntimeError,  # of zipfile, and of recursion
)


def detect_form(file: BinaryIO) -> str:
    """Return `zip`, `tar`, `tar.gz` or "" by the first bytes; a name proves nothing. The position goes back to 0."""
    head = file.read(_TAR_MAGIC_AT + len(_TAR_MAGIC))
    file.seek(0)
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return "zip"
    if head[:2] == b"\x1f\x8b":
        return "tar.gz"
    return "tar" if head[_TAR_MAGIC_AT:] == _TAR_MAGIC else ""


def read_zip(file: BinaryIO, writer: SafeWriter, limits: UnpackLimits) -> None:
    """Hand every file of a zip archive to `writer`. All names are judged by the directory at its end."""
    directory_bytes = max(1 << 16, limits.max_entries * MAX_DIRECTORY_BYTES_PER_ENTRY)
    bounded = _BoundedReader(file, max_read_bytes=directory_bytes)
    with _damage():
        archive = zipfile.ZipFile(cast(BinaryIO, bounded))
    with archive:
        for info in archive.infolist():
            _check_zip_entry(info)
            if info.is_dir():
                writer.folder(info.orig_filename.rstrip("/"))
                continue
            with _damage():
                source = archive.open(info)
            with source:
                writer.file(info.orig_filename, _guarded(cast(BinaryIO, source)), info.file_size)


def read_tar(file: BinaryIO, writer: SafeWriter, *, compressed: bool) -> None:
    """Hand every file of a tar archive to `writer`, in one pass. An archive without its end mark is damaged."""
    raw = cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb")) if compressed else file
    bounded = _BoundedReader(raw, max_read_bytes=MAX_HEADER_BYTES)
    bounded.allow(MAX_HEADER_BYTES)
    with _damage():
        archive = tarfile.TarFile(fileobj=cast(BinaryIO, bounded), mode="r", errorlevel=2)
    while (entry := _next_entry(archive, bounded)) is not None:
        _read_tar_entry(archive, entry, writer)
    # Python takes a cut or wrong header for the end; the true end is a block of zeros.
    if bounded.last_piece != bytes(tarfile.BLOCKSIZE):
        raise refused("damaged", "", "the archive ends before its end mark", _UPLOAD_AGAIN)
    if compressed:
        _drain(bounded)


def _next_entry(archive: tarfile.TarFile, bounded: "_BoundedReader") -> tarfile.TarInfo | None:
    bounded.allow(MAX_HEADER_BYTES)
    with _damage():
        entry = archive.next()
    archive.members.clear()  # type: ignore[attr-defined]  # it would keep every entry for later
    bounded.allow(None)
    return entry


def _drain(bounded: "_BoundedReader") -> None:
    """Read the padding at the end: only there gzip's checksum is compared."""
    bounded.allow(MAX_HEADER_BYTES)
    with _damage():
        while bounded.read(tarfile.RECORDSIZE):
            pass


def _read_tar_entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, writer: SafeWriter) -> None:
    name = entry.name.removeprefix("./")  # `tar -C folder .` writes every name this way
    if entry.isdir():
        if name not in {"", "."}:
            writer.folder(name)
    elif entry.isreg() and not entry.issparse():
        source = archive.extractfile(entry)
        assert source is not None, "a regular file has content"  # noqa: S101 - narrows the type
        writer.file(name, _guarded(cast(BinaryIO, source)), entry.size)
    else:
        what = "a link" if entry.issym() or entry.islnk() else "no regular file"
        raise refused("not_a_file", name, f"{name!a:.100} is {what}", "pack the files themselves")


def _check_zip_entry(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    if info.filename != name:
        raise refused("two_names", name, f"{name!a:.100} has two different names in the archive", _UPLOAD_AGAIN)
    if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise refused("not_a_file", name, f"{name!a:.100} is a link or a special file", "pack the files themselves")
    if info.flag_bits & _ENCRYPTED:
        raise refused("encrypted", name, f"{name!a:.100} is encrypted", "pack it without a password")
    if info.compress_type not in _METHODS:
        message = f"{name!a:.100} is compressed by a method other than deflate"
        raise refused("unknown_method", name, message, "pack it as a plain zip or tar.gz")


class _BoundedReader(io.RawIOBase):
    """A file of which no more than some bytes are read at once, and none after an allowance is spent."""

    def __init__(self, file: BinaryIO, *, max_read_bytes: int) -> None:
        self._file = file
        self._max_read_bytes = max_read_bytes
        self._left: int | None = None
        self.last_piece = b""

    def allow(self, size_bytes: int | None) -> None:
        """Set what may be read from here on; None: anything, still in bounded pieces."""
        self._left = size_bytes

    def read(self, size: int = -1) -> bytes:
        allowed = self._max_read_bytes if self._left is None else min(self._left, self._max_read_bytes)
        piece = self._file.read(allowed + 1 if size < 0 else min(size, allowed + 1))
        if len(piece) > allowed:
            raise refused("header_too_large", "", "its list of files is larger than its files justify", _UPLOAD_AGAIN)
        if self._left is not None:
            self._left -= len(piece)
        self.last_piece = piece
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            # A damaged list of files can point to before the beginning. From the end, zipfile itself expects the error.
            if error.errno != errno.EINVAL or whence != io.SEEK_SET:
                raise
            raise refused("damaged", "", "the archive is damaged, or not one", _UPLOAD_AGAIN) from error

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _Guarded(io.RawIOBase):
    """An entry's bytes; a damaged archive is a refusal, so that it is not taken for a failing disk of the sink."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        with _damage():
            return self._source.read(size)


def _guarded(source: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, _Guarded(source))


@contextmanager
def _damage() -> Iterator[None]:
    """Turn what the readers raise over bad input into a refusal."""
    try:
        yield
    except _DAMAGED as error:
        raise refused("damaged", "", "the archive is damaged, or not one", _UPLOAD_AGAIN) from error
