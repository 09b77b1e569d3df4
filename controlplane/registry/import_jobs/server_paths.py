"""Files that lie on the workers' machine, read without ever following a link out of where they may lie."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from controlplane.registry.errors import ImportPathError
from controlplane.registry.importing import MODEL_FILE
from model_repository_tools.errors import ModelRepositoryError
from model_repository_tools.paths import safe_relative_paths

MAX_FILES = 1000

_LINK = frozenset({errno.ELOOP, errno.EMLINK, errno.ENOTDIR})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINK = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class ServerFiles:
    """The files below one path; a single file is the graph. They are opened one by one, each from the same folder."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        self.sizes = dict(self._list()) if self._is_folder else {MODEL_FILE: _size_of(descriptor)}

    def open(self, path: str) -> BinaryIO:
        """One of the files, for reading.

        Raises:
            ImportPathError: it is no file any more, or gone.
        """
        if not self._is_folder:
            return os.fdopen(os.dup(self._descriptor), "rb")
        with _refusing(), ExitStack() as opened:
            descriptor = _walk(self._descriptor, PurePosixPath(path).parts, opened)
            _size_of(descriptor)
            return os.fdopen(os.dup(descriptor), "rb")

    def _list(self) -> Iterator[tuple[str, int]]:
        found: dict[str, int] = {}
        for folder, folders, names, descriptor in os.fwalk(".", follow_symlinks=False, dir_fd=self._descriptor):
            for name in folders:
                _refuse_link(name, descriptor)
            for name in names:
                path = str(PurePosixPath(folder) / name)
                with _refusing(), ExitStack() as opened:
                    found[path] = _size_of(_walk(descriptor, (name,), opened))
                if len(found) > MAX_FILES:
                    raise ImportPathError(f"The folder holds more than {MAX_FILES} files.")
        try:
            safe_relative_paths(found)
        except ModelRepositoryError as error:
            raise ImportPathError(f"A file name in the folder is not safe: {error}.") from error
        yield from sorted(found.items())


def check_allowed(path: str, roots: Sequence[Path]) -> tuple[Path, PurePosixPath]:
    """The folder that allows a path, and the path inside it, by their names alone.

    Raises:
        ImportPathError: no folder allows it.
    """
    asked = PurePosixPath(path)
    plain = path.startswith("/") and path == str(asked) and ".." not in asked.parts and path.isprintable()
    for root in roots:
        if plain and asked != PurePosixPath(root) and asked.is_relative_to(root):
            return root, asked.relative_to(root)
    raise ImportPathError(
        "This server does not import from there: give an absolute path inside one of the folders that its operator "
        "allowed with CONTROLPLANE_IMPORT_PATHS."
    )


@contextmanager
def open_server_files(path: str, roots: Sequence[Path]) -> Iterator[ServerFiles]:
    """The files at a path, while the context lasts.

    Raises:
        ImportPathError: the path is not allowed, leads over a link, or holds something that is no file.
    """
    root, inside = check_allowed(path, roots)
    with ExitStack() as opened:
        with _refusing():
            top = os.open(root, _FOLDER)
            opened.callback(os.close, top)
            files = ServerFiles(_walk(top, inside.parts, opened))
        yield files


def _walk(descriptor: int, parts: Sequence[str], opened: ExitStack) -> int:
    """Goes down by names, never over a link; what it opens is closed with `opened`."""
    for part in parts:
        descriptor = os.open(part, _NO_LINK, dir_fd=descriptor)
        opened.callback(os.close, descriptor)
    return descriptor


def _size_of(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ImportPathError("The path holds something that is neither a file nor a folder.")
    return status.st_size


def _refuse_link(name: str, folder: int) -> None:
    """A walk leaves links to folders out without a word; half a model must not pass for the whole."""
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise ImportPathError("The folder holds a link, and links are not followed.")


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _LINK:
            raise ImportPathError("The path leads over a link, and links are not followed.") from error
        raise ImportPathError("There is nothing at this path that the server may read.") from error
