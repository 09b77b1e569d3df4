"""The one judge of names that come from elsewhere: archives, uploads, manifests, models."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from model_repository_tools.errors import UnsafePathError

MAX_PATH_BYTES = 1024
MAX_COMPONENT_BYTES = 255  # NAME_MAX of the Linux file systems
MAX_DEPTH = 16

_TRITON_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PUBLICATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def safe_relative_path(name: str) -> PurePosixPath:
    """Return `name` as a path that stays inside the folder it is joined to, on any system.

    Raises:
        UnsafePathError: It is empty, too long or too deep, absolute, hidden, not in its plain form (`.`, `..`, `//`),
            holds a backslash, or characters that do not print.
    """
    shown = _shown(name)
    if not name:
        raise UnsafePathError("a file name is empty", code="path.empty")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise UnsafePathError(f"{shown} holds characters that do not print", code="path.unprintable")
    if name.startswith("/"):
        raise UnsafePathError(
            f"{shown} is absolute; file names are relative to the version's folder", code="path.absolute"
        )
    if "\\" in name:
        raise UnsafePathError(f"{shown} holds a backslash, which some systems read as a folder", code="path.backslash")
    if len(name.encode()) > MAX_PATH_BYTES:
        raise UnsafePathError(f"{shown} is longer than {MAX_PATH_BYTES} bytes", code="path.too_long")
    components = name.split("/")
    if len(components) > MAX_DEPTH:
        raise UnsafePathError(f"{shown} is deeper than {MAX_DEPTH} folders", code="path.too_deep")
    for component in components:
        _check_component(component, shown)
    return PurePosixPath(name)


class SafePaths:
    """A growing set of safe paths, none of which could be taken for another: for names that come one by one.

    Two names collide if they differ only in case or in Unicode form, or if one is a folder of the other: on the next
    file system one of them would silently replace the other.
    """

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, name: str) -> PurePosixPath:
        """Return `name` as a safe path, and remember it.

        Raises:
            UnsafePathError: It is unsafe, or collides with one that came before.
        """
        path = safe_relative_path(name)
        key = _collision_key(name)
        if taken := self._files.get(key) or self._folders.get(key):
            raise UnsafePathError(f"{_shown(name)} and {_shown(taken)} collide", code="path.collision")
        for folder in list(path.parents)[:-1]:
            folder_key = _collision_key(str(folder))
            if folder_key in self._files or self._folders.setdefault(folder_key, str(folder)) != str(folder):
                raise UnsafePathError(f"the folder of {_shown(name)} collides with another name", code="path.collision")
        self._files[key] = name
        return path

    def __len__(self) -> int:
        return len(self._files)


def safe_relative_paths(names: Iterable[str]) -> tuple[PurePosixPath, ...]:
    """Return all `names` as safe paths, in their order, none of which could be taken for another (`SafePaths`).

    Raises:
        UnsafePathError: One is unsafe, or two collide.
    """
    paths = SafePaths()
    return tuple(paths.add(name) for name in names)


def safe_triton_name(name: str) -> str:
    """Return `name` if it can be a model's folder in a repository (letters, digits, `.`, `_`, `-`).

    Raises:
        UnsafePathError: It cannot.
    """
    if not _TRITON_NAME.fullmatch(name):
        raise UnsafePathError(
            f"{_shown(name)} is not a model name: use letters, digits, '.', '_' and '-'", code="path.name"
        )
    return name


def safe_publication_id(publication_id: str) -> str:
    """Return `publication_id` if it can name a stage (letters, digits, `_`, `-`).

    Raises:
        UnsafePathError: It cannot.
    """
    if not _PUBLICATION_ID.fullmatch(publication_id):
        raise UnsafePathError(f"{_shown(publication_id)} is not a publication id", code="path.name")
    return publication_id


def _check_component(component: str, shown: str) -> None:
    if component in {"", ".", ".."}:
        raise UnsafePathError(
            f"{shown} is not in its plain form: no '.', '..' or empty folder names", code="path.traversal"
        )
    if component.startswith("."):
        raise UnsafePathError(f"{shown} is hidden; names must not begin with a dot", code="path.hidden")
    if component != component.strip():
        raise UnsafePathError(f"{shown} has blanks at the end of a name", code="path.blank")
    if len(component.encode()) > MAX_COMPONENT_BYTES:
        raise UnsafePathError(f"{shown} has a name longer than {MAX_COMPONENT_BYTES} bytes", code="path.too_long")


def _collision_key(name: str) -> str:
    # Case folding can undo a normalisation, so it is applied between two of them (Unicode 3.13, D145).
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:77] + "...")
