"""The content-addressed store: files known by their digest, written once, never opened for writing again."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from controlplane.env import control_settings
from controlplane.registry.incoming import IncomingFile

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A file that is safely in the store."""

    sha256: str
    size_bytes: int


class ArtifactStore(Protocol):
    """Where the bytes of versions live; shared by web and workers."""

    def put(self, source: BinaryIO) -> StoredArtifact:
        """Stores everything `source` yields; storing the same bytes twice is one file."""
        ...

    def incoming(self, name: str) -> IncomingFile:
        """The file that arrives piece by piece under that name; it need not exist yet."""
        ...

    def incoming_names(self) -> list[str]:
        """The names of all files that arrive, or have arrived and were not taken in."""
        ...

    def take_in(self, name: str, sha256: str) -> StoredArtifact:
        """Makes the sealed incoming file the artifact of that digest; taking it in twice is taking it in once."""
        ...

    def free_bytes(self) -> int:
        """How much room the store has left."""
        ...

    def local(self, sha256: str) -> AbstractContextManager[Path]:
        """The artifact as a file on this machine, for reading only, while the context lasts."""
        ...

    def workspace(self) -> AbstractContextManager[Path]:
        """A temporary folder into which `local` files can be laid cheaply, while the context lasts."""
        ...


class FolderArtifactStore:
    """A store in a folder: ``sha256/ab/abcd...``, mode 0444.

    A file appears under its digest only when all of it is on disk; a crash leaves nothing but a file in ``incoming``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._uploads = self._incoming / "uploads"

    def put(self, source: BinaryIO) -> StoredArtifact:
        """Stores everything `source` yields, in memory of one chunk."""
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self._incoming, delete=False) as target:
            temporary = Path(target.name)
            try:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    target.write(chunk)
                target.flush()
                os.fchmod(target.fileno(), 0o444)
                os.fsync(target.fileno())
            except BaseException:
                temporary.unlink()
                raise
        return StoredArtifact(self._settle(temporary, digest.hexdigest()), size)

    def incoming(self, name: str) -> IncomingFile:
        """The file that arrives under that name, on the store's own file system."""
        return IncomingFile(self._uploads / name)

    def incoming_names(self) -> list[str]:
        """The names of all files in the folder of uploads."""
        return sorted(path.name for path in self._uploads.glob("*"))

    def take_in(self, name: str, sha256: str) -> StoredArtifact:
        """Moves the incoming file to its digest by one rename.

        Raises:
            FileNotFoundError: the file neither waits nor was taken in.
        """
        with suppress(FileNotFoundError):
            self._settle(self._uploads / name, sha256)
        return StoredArtifact(sha256, self.path(sha256).stat().st_size)

    def free_bytes(self) -> int:
        """What the file system has left for this user."""
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        return shutil.disk_usage(self._incoming).free

    @contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        """The file itself.

        Raises:
            FileNotFoundError: the store does not hold the artifact.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise FileNotFoundError(f"The artifact store does not hold {sha256}.")
        yield path

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A temporary folder on the store's own file system, where artifacts can be linked instead of copied."""
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self._incoming) as folder:
            yield Path(folder)

    def path(self, sha256: str) -> Path:
        """Where an artifact of that digest lies or would lie."""
        return self._root / "sha256" / sha256[:2] / sha256

    def _settle(self, temporary: Path, sha256: str) -> str:
        final = self.path(sha256)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(final)
        _sync_folder(final.parent)
        return sha256


def artifact_store() -> ArtifactStore:
    """The store this control plane is set up with."""
    return FolderArtifactStore(control_settings().artifacts)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
