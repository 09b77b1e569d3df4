"""From an archive or folder to files, one by one or all together."""

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from model_repository_tools.errors import RepositoryConflictError
from model_repository_tools.paths import MAX_DEPTH
from model_repository_tools.repository import files as on_disk
from model_repository_tools.unpacking.archives import detect_form, read_tar, read_zip
from model_repository_tools.unpacking.limits import UnpackLimits
from model_repository_tools.unpacking.report import RefusedError, UnpackReport, refused
from model_repository_tools.unpacking.writer import SafeWriter, Sink

_PARTIAL = ".unpacking"


def unpack(source: Path, sink: Sink, limits: UnpackLimits | None = None) -> UnpackReport:
    """Hand every file of a zip, tar, tar.gz or folder to `sink`, under a name that is safe to use.

    Memory stays flat, whatever the archive holds. The first problem ends the import and comes back as a finding; files
    that the sink took before it are to be thrown away.

    Args:
        source: An archive, told by its first bytes, or a folder.
        sink: Gets each file's path inside the version, and its bytes.
        limits: Default: enough for any real model.

    Raises:
        OSError: The disk refused to give or to take bytes. Nothing in an archive causes it.
    """
    limits = limits or UnpackLimits()
    if source.is_dir():
        writer = SafeWriter(sink, limits, None)
        return _report("folder", writer, lambda: _read_folder(source, writer))
    with _open_regular(source) as file:
        form = detect_form(file)
        writer = SafeWriter(sink, limits, os.fstat(file.fileno()).st_size)
        return _report(form, writer, lambda: _read_archive(form, file, writer, limits))


def unpack_to_folder(source: Path, folder: Path, limits: UnpackLimits | None = None) -> UnpackReport:
    """Unpack into `folder`, which must not exist: it appears with all files, synced, or not at all.

    A crash leaves nothing but a folder `<folder>.<random>.unpacking` beside it, which anybody may remove.

    Raises:
        RepositoryConflictError: `folder` exists.
        OSError: The disk refused.
    """
    if folder.exists() or folder.is_symlink():
        raise RepositoryConflictError(f"{folder.name!a} exists already; choose a new folder")
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}{_PARTIAL}")
    on_disk.make_folder(partial)
    try:
        report = unpack(source, _FolderSink(partial), limits)
        if report.is_complete:
            on_disk.sync_folders(partial)
            partial.rename(folder)
            on_disk.sync(folder.parent)
        return report
    finally:
        on_disk.discard(partial, partial.parent)


class _FolderSink:
    """Writes files below a folder that nobody else knows: no link can lie in the way."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def __call__(self, path: PurePosixPath, stream: BinaryIO) -> None:
        on_disk.make_folders_below(self._top, Path(path.parent))
        on_disk.write_stream(self._top / path, stream)


def _report(form: str, writer: SafeWriter, read: Callable[[], None]) -> UnpackReport:
    try:
        read()
        if not writer.files:
            raise refused("empty", "", "it holds no files", "put the model's files into it")
    except RefusedError as error:
        return UnpackReport(form, writer.files, (error.finding,))
    return UnpackReport(form, writer.files)


def _read_archive(form: str, file: BinaryIO, writer: SafeWriter, limits: UnpackLimits) -> None:
    if form == "zip":
        read_zip(file, writer, limits)
    elif form:
        read_tar(file, writer, compressed=form == "tar.gz")
    else:
        raise refused("unknown_form", "", "it is neither a zip nor a tar archive", "pack it as .zip, .tar or .tar.gz")


def _read_folder(top: Path, writer: SafeWriter) -> None:
    """Walk by descriptors, so that a folder which is replaced by a link meanwhile leads nowhere."""
    for folder, folders, files, descriptor in os.fwalk(top, follow_symlinks=False):
        folders.sort()
        prefix = Path(folder).relative_to(top)
        if len(prefix.parts) >= MAX_DEPTH:
            folders.clear()
        for name in [*folders, *sorted(files)]:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            inner = str(prefix / name)
            if stat.S_ISDIR(status.st_mode):
                writer.folder(inner)
            elif stat.S_ISREG(status.st_mode):
                with _open_regular(Path(name), descriptor) as source:
                    writer.file(inner, source, os.fstat(source.fileno()).st_size)
            else:
                raise refused(
                    "not_a_file", inner, f"{inner!a:.100} is a link or a special file", "copy the file itself"
                )


@contextmanager
def _open_regular(path: Path, folder: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that is one: a link is not followed, a pipe is not waited for.

    Raises:
        OSError: It is a link, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RepositoryConflictError(f"{path.name!a} is not a regular file", code="unpack.not_a_file")
        yield file
