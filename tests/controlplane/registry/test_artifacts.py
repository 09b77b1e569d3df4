"""The content-addressed store."""

from __future__ import annotations

import hashlib
import io
import stat
from pathlib import Path

import pytest

from controlplane.registry.artifacts import FolderArtifactStore


class FailingSource(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError("the client left")
        return super().read(10)


def test_a_file_is_stored_read_only_under_its_digest(tmp_path: Path) -> None:
    stored = FolderArtifactStore(tmp_path).put(io.BytesIO(b"weights"))
    assert stored.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert stored.size_bytes == 7
    with FolderArtifactStore(tmp_path).local(stored.sha256) as path:
        assert path.read_bytes() == b"weights"
        assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_the_same_bytes_twice_are_one_file(tmp_path: Path) -> None:
    store = FolderArtifactStore(tmp_path)
    assert store.put(io.BytesIO(b"weights")) == store.put(io.BytesIO(b"weights"))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_source_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the client left"):
        FolderArtifactStore(tmp_path).put(FailingSource(b"0123456789abcdef"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unknown_digest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), FolderArtifactStore(tmp_path).local("0" * 64):
        pass
