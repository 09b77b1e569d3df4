"""Files on the server: only from allowed folders, and never over a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.registry.errors import ImportPathError
from controlplane.registry.import_jobs.server_paths import MAX_FILES, check_allowed, open_server_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "digits" / "extra").mkdir(parents=True)
    (folder / "digits" / "model.onnx").write_bytes(b"graph")
    (folder / "digits" / "extra" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "secret.onnx").write_bytes(b"secret")
    return folder


def read(path: Path | str, root: Path) -> dict[str, bytes]:
    with open_server_files(str(path), [root]) as files:
        contents = {}
        for name, size in files.sizes.items():
            with files.open(name) as file:
                contents[name] = file.read()
            assert len(contents[name]) == size
        return contents


def test_a_file_is_the_graph_and_a_folder_is_all_of_it(root: Path) -> None:
    assert read(root / "digits" / "model.onnx", root) == {"model.onnx": b"graph"}
    assert read(root / "digits", root) == {"extra/weights.bin": b"weights", "model.onnx": b"graph"}


@pytest.mark.parametrize(
    "path",
    [
        "{root}",
        "{root}/",
        "{root}/../secret.onnx",
        "{root}/digits/../../secret.onnx",
        "{root}-other/model.onnx",
        "/etc/passwd",
        "digits",
        "",
        "{root}//digits",
        "{root}/./digits",
        "{root}/digits/\n",
        "{root}/digits/\0",
    ],
)
def test_a_path_outside_is_refused_by_its_name(root: Path, path: str) -> None:
    with pytest.raises(ImportPathError):
        check_allowed(path.format(root=root), [root])


def test_no_folder_is_allowed_by_default(root: Path) -> None:
    with pytest.raises(ImportPathError):
        check_allowed(str(root / "digits"), [])


def test_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "link.onnx").symlink_to(tmp_path / "secret.onnx")
    (root / "folder").symlink_to(tmp_path)
    for path in (root / "link.onnx", root / "folder" / "secret.onnx", root / "folder"):
        with pytest.raises(ImportPathError, match="link"):
            read(path, root)


@pytest.mark.parametrize("target", ["secret.onnx", "."])
def test_a_folder_with_a_link_in_it_is_refused(root: Path, tmp_path: Path, target: str) -> None:
    (root / "digits" / "extra" / "link").symlink_to(tmp_path / target)

    with pytest.raises(ImportPathError):
        read(root / "digits", root)


def test_a_folder_with_a_pipe_in_it_is_refused_and_does_not_block(root: Path) -> None:
    os.mkfifo(root / "digits" / "pipe")

    with pytest.raises(ImportPathError, match="neither a file nor a folder"):
        read(root / "digits", root)
    with pytest.raises(ImportPathError):
        read(root / "digits" / "pipe", root)


def test_a_folder_with_an_unsafe_name_is_refused(root: Path) -> None:
    (root / "digits" / ".hidden").write_bytes(b"")

    with pytest.raises(ImportPathError, match="not safe"):
        read(root / "digits", root)


def test_a_folder_with_too_many_files_is_refused(root: Path) -> None:
    for number in range(MAX_FILES):
        (root / "digits" / f"{number}.bin").touch()

    with pytest.raises(ImportPathError, match="more than"):
        read(root / "digits", root)


def test_what_is_not_there_is_refused_without_telling_the_path_of_anything(root: Path) -> None:
    with pytest.raises(ImportPathError) as refused:
        read(root / "nothing", root)
    assert str(root) not in refused.value.message


def test_a_file_that_becomes_a_link_meanwhile_is_not_followed(root: Path, tmp_path: Path) -> None:
    with open_server_files(str(root / "digits"), [root]) as files:
        (root / "digits" / "model.onnx").unlink()
        (root / "digits" / "model.onnx").symlink_to(tmp_path / "secret.onnx")
        with pytest.raises(ImportPathError, match="link"):
            files.open("model.onnx")
