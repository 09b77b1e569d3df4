import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.manifest import Manifest, hash_file, verify

FILES = st.dictionaries(
    st.from_regex(r"[a-c]{1,2}(/[d-f]{1,2}){0,2}\.bin", fullmatch=True), st.binary(max_size=64), min_size=1, max_size=6
)


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_a_file_is_hashed_in_pieces_with_its_size(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(content)
    assert hash_file(tmp_path / "f") == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_link_is_not_hashed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic"):
        hash_file(tmp_path / "link")


@settings(max_examples=40)
@given(FILES)
def test_a_manifest_survives_json_and_verifies_its_own_folder(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), files)
        manifest = Manifest.of_folder(Path(name))
        assert {entry.path for entry in manifest.entries} == set(files)
        assert Manifest.from_json(manifest.to_json()) == manifest
        assert verify(manifest, Path(name)) == []


@settings(max_examples=40)
@given(FILES, st.data())
def test_one_changed_byte_changes_the_digest_and_is_found(files: dict[str, bytes], data: st.DataObject) -> None:
    victim = data.draw(st.sampled_from(sorted(files)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, files)
        manifest = Manifest.of_folder(folder)
        content = bytearray(files[victim] or b"\0")
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1
        (folder / victim).write_bytes(content)
        assert [(f.code, f.path) for f in verify(manifest, folder)] == [("manifest.changed", victim)]
        assert Manifest.of_folder(folder).digest != manifest.digest


ENTRIES = [("a", "0" * 64, 1), ("b/c", "1" * 64, 2), ("b.c", "2" * 64, 3)]


@given(st.permutations(ENTRIES))
def test_the_digest_does_not_depend_on_the_order_of_files(entries: list[tuple[str, str, int]]) -> None:
    assert Manifest.of_entries(entries).digest == Manifest.of_entries(ENTRIES).digest


def test_the_canonical_json_is_fixed_forever() -> None:
    manifest = Manifest.of_entries([("b", "1" * 64, 2), ("a", "0" * 64, 1)])
    text = '{"files":[{"path":"a","sha256":"%s","size":1},{"path":"b","sha256":"%s","size":2}],"format":1}'
    assert manifest.to_json() == text % ("0" * 64, "1" * 64)
    assert manifest.digest == hashlib.sha256(manifest.to_json().encode()).hexdigest()
    assert manifest.size_bytes == 3


def test_missing_and_unexpected_files_are_found(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1", "b": b"2"})
    manifest = Manifest.of_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "c")
    assert [(f.code, f.path) for f in verify(manifest, tmp_path)] == [
        ("manifest.missing", "a"),
        ("manifest.unexpected", "c"),
    ]


def make_link(folder: Path) -> None:
    (folder / "link").symlink_to("/")


def make_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def make_hidden_file(folder: Path) -> None:
    (folder / ".hidden").touch()


@pytest.mark.parametrize("make", [make_link, make_pipe, make_hidden_file])
def test_links_pipes_and_hidden_files_are_found(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    assert [finding.code for finding in verify(Manifest.of_entries([]), tmp_path)] == ["manifest.unsafe"]


def test_a_missing_folder_is_a_finding(tmp_path: Path) -> None:
    assert [finding.code for finding in verify(Manifest.of_entries([]), tmp_path / "no")] == ["manifest.unreadable"]


@pytest.mark.parametrize("path", ["../x", "/x", ".x"])
def test_a_manifest_cannot_name_files_outside_its_folder(path: str) -> None:
    with pytest.raises(UnsafePathError):
        Manifest.from_json(json.dumps({"format": 1, "files": [{"path": path, "sha256": "", "size": 1}]}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format":2,"files":[]}', '{"format":1,"files":[{}]}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"manifest|Expecting"):
        Manifest.from_json(text)
