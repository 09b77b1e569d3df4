"""A manifest: which files a folder holds, byte for byte."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.findings import Finding
from model_repository_tools.paths import safe_relative_path, safe_relative_paths

FORMAT = 1


@dataclass(frozen=True, slots=True, order=True)
class ManifestEntry:
    """One file: its path relative to the folder, the SHA-256 of its bytes in hex, and its size."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a folder, sorted by path. Equal folders have equal manifests, and equal `digest`s.

    Empty folders, modes and times are not part of it: they do not change what a model computes.
    """

    entries: tuple[ManifestEntry, ...]

    def __post_init__(self) -> None:
        safe_relative_paths(entry.path for entry in self.entries)
        if list(self.entries) != sorted(self.entries):
            object.__setattr__(self, "entries", tuple(sorted(self.entries)))

    @property
    def digest(self) -> str:
        """SHA-256 in hex of the canonical JSON: what a signature or a database row stands for."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size_bytes for entry in self.entries)

    def to_json(self) -> str:
        """Return the canonical JSON: sorted, no blanks, ASCII. The same manifest gives the same bytes forever."""
        files = [{"path": entry.path, "sha256": entry.sha256, "size": entry.size_bytes} for entry in self.entries]
        return json.dumps({"files": files, "format": FORMAT}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Undo `to_json`.

        Raises:
            ValueError: Not a manifest, or of a format this release does not know.
            UnsafePathError: It names a file outside its folder.
        """
        try:
            value: Mapping[str, Any] = json.loads(text)
            if value["format"] != FORMAT:
                raise ValueError(f"manifest format {value['format']!r} is not known, only {FORMAT}")
            entries = tuple(ManifestEntry(str(f["path"]), str(f["sha256"]), int(f["size"])) for f in value["files"])
        except (KeyError, TypeError) as error:
            raise ValueError("this is not a manifest") from error
        return cls(entries)

    @classmethod
    def of_entries(cls, entries: Iterable[tuple[str, str, int]]) -> "Manifest":
        """Build the manifest of files known by (path, sha256, size), for instance from an artifact store.

        Raises:
            UnsafePathError: A path is unsafe, or two collide.
        """
        return cls(tuple(ManifestEntry(*entry) for entry in entries))

    @classmethod
    def of_folder(cls, folder: Path) -> "Manifest":
        """Hash every file below `folder`.

        Raises:
            UnsafePathError: A link, device or socket lies in it, or a name is unsafe.
            FileNotFoundError: There is no such folder.
        """
        return cls(
            tuple(ManifestEntry(name, *hash_file(folder / name)) for name in sorted(_regular_files(folder))),
        )


def hash_file(path: Path) -> tuple[str, int]:
    """Return (SHA-256 in hex, size in bytes) of a file, read in pieces. A link is refused, not followed.

    Raises:
        OSError: It cannot be read, or is a link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def verify(manifest: Manifest, folder: Path) -> list[Finding]:
    """Compare what lies in `folder` with `manifest`; an empty list means: exactly these files with these bytes."""
    try:
        found = set(_regular_files(folder))
    except UnsafePathError as error:
        return [Finding("manifest.unsafe", "", str(error), "publish the version again")]
    except OSError:
        return [Finding("manifest.unreadable", "", "the folder cannot be read", "check that it exists")]
    expected = {entry.path: entry for entry in manifest.entries}
    findings = [_finding("missing", name, "is missing") for name in sorted(expected.keys() - found)]
    findings += [_finding("unexpected", name, "does not belong here") for name in sorted(found - expected.keys())]
    for name in sorted(expected.keys() & found):
        findings += _check_file(expected[name], folder / name)
    return findings


def _check_file(entry: ManifestEntry, path: Path) -> Iterator[Finding]:
    try:
        if path.lstat().st_size != entry.size_bytes:
            yield _finding("changed", entry.path, f"does not have {entry.size_bytes} bytes")
        elif hash_file(path) != (entry.sha256, entry.size_bytes):
            yield _finding("changed", entry.path, "has other bytes than were approved")
    except OSError:
        yield _finding("unreadable", entry.path, "cannot be read")


def _finding(kind: str, path: str, problem: str) -> Finding:
    return Finding(f"manifest.{kind}", path, f"{path} {problem}", "publish the version again")


def _regular_files(folder: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder) as listing:
        for item in listing:
            name = prefix + item.name
            safe_relative_path(name)
            mode = item.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _regular_files(folder / item.name, name + "/")
            elif stat.S_ISREG(mode):
                yield name
            else:
                raise UnsafePathError(f"{name!a} is a link or a special file", code="path.not_a_file")
