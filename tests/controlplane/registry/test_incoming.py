"""Files that arrive piece by piece."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.registry.artifacts import FolderArtifactStore
from controlplane.registry.incoming import IncomingFile

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from controlplane.registry.incoming import IncomingFile
with IncomingFile(Path(sys.argv[1])).writing() as writer:
    writer.append(b"half of")
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_file_grows_over_several_writers(tmp_path: Path) -> None:
    file = IncomingFile(tmp_path / "incoming" / "one")
    assert file.durable_size() == 0
    for piece in (b"one ", b"two ", b"three"):
        with file.writing() as writer:
            writer.append(piece)
    assert file.durable_size() == 13
    with file.writing() as writer:
        assert writer.seal() == hashlib.sha256(b"one two three").hexdigest()
    assert stat.S_IMODE((tmp_path / "incoming" / "one").stat().st_mode) == 0o444


def test_there_is_one_writer_at_a_time(tmp_path: Path) -> None:
    file = IncomingFile(tmp_path / "one")
    with file.writing(), pytest.raises(BlockingIOError), file.writing():
        pass
    with file.writing():
        pass


def test_the_lock_ends_with_its_holder_and_what_it_wrote_stays(tmp_path: Path) -> None:
    file = IncomingFile(tmp_path / "one")
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path / "one")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(BlockingIOError), file.writing():
            pass
        holder.kill()
        holder.wait()
    with file.writing() as writer:
        assert writer.size == len(b"half of")


def test_what_was_cut_off_is_not_part_of_the_file(tmp_path: Path) -> None:
    file = IncomingFile(tmp_path / "one")
    with file.writing() as writer:
        writer.append(b"good bad")
        writer.cut(4)
        writer.append(b"again")
        assert writer.seal() == hashlib.sha256(b"goodagain").hexdigest()


def test_a_sealed_file_is_taken_in_by_a_rename_and_only_once(tmp_path: Path) -> None:
    store = FolderArtifactStore(tmp_path)
    with store.incoming("one").writing() as writer:
        writer.append(b"weights")
        sha256 = writer.seal()
    inode = next((tmp_path / "incoming" / "uploads").iterdir()).stat().st_ino
    assert store.incoming_names() == ["one"]

    assert store.take_in("one", sha256) == store.take_in("one", sha256)

    assert store.incoming_names() == []
    with store.local(sha256) as path:
        assert (path.stat().st_ino, path.read_bytes()) == (inode, b"weights")


def test_a_file_that_never_was_cannot_be_taken_in(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FolderArtifactStore(tmp_path).take_in("one", "0" * 64)
