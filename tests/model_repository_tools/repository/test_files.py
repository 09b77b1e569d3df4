import os
from pathlib import Path

import pytest

from model_repository_tools.errors import RepositoryError
from model_repository_tools.repository.files import discard, make_folder, place_file, write_file


def test_an_immutable_source_is_linked_and_keeps_its_times(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"bytes")
    source.chmod(0o444)
    os.utime(source, (1, 1))
    place_file(source, target)
    assert source.samefile(target)
    assert source.stat().st_mtime == 1


def test_a_source_that_could_change_is_copied_with_a_new_time(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"bytes")
    os.utime(source, (1, 1))
    place_file(source, target)
    source.write_bytes(b"edited")
    assert target.read_bytes() == b"bytes"
    assert target.stat().st_mtime > 1
    assert target.stat().st_mode & 0o777 == 0o444


def test_a_source_on_another_file_system_is_copied(tmp_path: Path) -> None:
    source = Path("/dev/shm") / f"{tmp_path.parent.name}-{os.getpid()}"  # noqa: S108 - another file system
    content = os.urandom(3_000_000)
    try:
        source.write_bytes(content)
        source.chmod(0o444)
        place_file(source, tmp_path / "target")
    finally:
        source.unlink(missing_ok=True)
    assert (tmp_path / "target").read_bytes() == content


def test_an_empty_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    place_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b""


def test_a_link_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "source").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic"):
        place_file(tmp_path / "source", tmp_path / "target")


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "source")
    with pytest.raises(RepositoryError):
        place_file(tmp_path / "source", tmp_path / "target")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"new")
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        place_file(tmp_path / "source", tmp_path / "target")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "target", b"")
    assert (tmp_path / "target").read_bytes() == b"old"


def test_what_is_made_can_be_read_by_tritons_user_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_folder(tmp_path / "folder")
        write_file(tmp_path / "folder" / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "folder" / "file").stat().st_mode & 0o777 == 0o444


def test_discarding_removes_a_folder_and_tolerates_that_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "trash").mkdir()
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    write_file(tmp_path / "folder" / "sub" / "file", b"")
    discard(tmp_path / "folder", tmp_path / "trash")
    discard(tmp_path / "folder", tmp_path / "trash")
    assert not (tmp_path / "folder").exists()
    assert list((tmp_path / "trash").iterdir()) == []
