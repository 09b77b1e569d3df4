"""Putting files and folders in place so that a crash leaves either the old state or the new one."""

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from model_repository_tools.errors import RepositoryError

_FILE_MODE = 0o444
_PIECE_BYTES = 1 << 20
_FOLDER_MODE = 0o755  # Triton often runs as another user; who may come here is the parent folder's business
_NO_LINK_HERE = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})
_NO_RANGE_COPY_HERE = frozenset({errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF})


def place_file(source: Path, target: Path) -> None:
    """Make `target` hold the bytes of `source`, durably, without touching `source`.

    A source that nobody may write (an artifact store's 0444 file) is hard-linked: no bytes are copied. Anything else is
    copied, since a link to a working file would let the next save in an editor change what Triton reads. A copy shares
    blocks where the file system can (XFS, Btrfs).

    Raises:
        RepositoryError: `source` is a link or not a regular file.
        OSError: The disk refused.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RepositoryError(f"{source.name} is not a regular file", code="repository.not_a_file")
        immutable = not status.st_mode & 0o222
        if not (immutable and _link(source, target)):
            _copy(descriptor, status.st_size, target)
    finally:
        os.close(descriptor)
    sync(target)


def write_file(target: Path, content: bytes) -> None:
    """Create `target` with `content`, durably. The file must not exist."""
    write_stream(target, io.BytesIO(content))


def write_stream(target: Path, stream: BinaryIO) -> None:
    """Create `target` with all that `stream` gives, piece by piece, durably. The file must not exist."""
    with os.fdopen(_create(target), "wb") as file:
        shutil.copyfileobj(stream, file, _PIECE_BYTES)
        os.fchmod(file.fileno(), _FILE_MODE)
        file.flush()
        os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Create one folder that Triton's user can read, whatever this process' umask. The parent must exist."""
    path.mkdir()
    path.chmod(_FOLDER_MODE)


def make_folders_below(top: Path, relative: Path) -> None:
    """Create `relative` and its parents below `top`, which must exist."""
    for folder in [*reversed(relative.parents), relative]:
        if not (top / folder).is_dir():
            make_folder(top / folder)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(top: Path) -> None:
    """`sync` every folder below `top`, innermost first, then `top`. Files are synced as they are placed."""
    for folder, _, _ in os.walk(top, topdown=False):
        sync(Path(folder))


def discard(path: Path, trash: Path) -> None:
    """Remove a folder so that nobody can see or move a half-removed one.

    It is first renamed into `trash`: whoever holds its old path finds all of it or nothing.
    """
    doomed = trash / secrets.token_hex(8)
    with contextlib.suppress(FileNotFoundError):
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def folders_in(path: Path) -> Iterator[Path]:
    """Yield the folders directly in `path`, sorted; nothing if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(item for item in path.iterdir() if item.is_dir() and not item.is_symlink())


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_LINK_HERE:
            return False
        raise
    return True


def _copy(source: int, size_bytes: int, target: Path) -> None:
    with os.fdopen(_create(target), "wb") as file, os.fdopen(source, "rb", closefd=False) as reader:
        copied = _copy_range(source, file.fileno(), size_bytes)
        reader.seek(copied)
        file.seek(copied)
        shutil.copyfileobj(reader, file, _PIECE_BYTES)
        os.fchmod(file.fileno(), _FILE_MODE)


def _copy_range(source: int, target: int, size_bytes: int) -> int:
    copied = 0
    try:
        while copied < size_bytes:
            count = os.copy_file_range(source, target, size_bytes - copied, copied, copied)
            if count == 0:
                break
            copied += count
    except OSError as error:
        if error.errno not in _NO_RANGE_COPY_HERE:
            raise
    return copied


def _create(target: Path) -> int:
    return os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
