import io
import os
import random
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_repository_tools.errors import RepositoryConflictError
from model_repository_tools.unpacking import UnpackLimits, UnpackReport, unpack, unpack_to_folder

FILES = {"model.onnx": b"graph", "weights/part.bin": b"w" * 100_000}
MIB = 1 << 20


def save_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def save_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def save_special(path: Path, **fields: object) -> Path:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("model.onnx")
        for name, value in fields.items():
            setattr(entry, name, value)
        archive.addfile(entry)
    return path


def save_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def sound_sources(folder: Path) -> dict[str, Path]:
    return {
        "zip": save_zip(folder / "a.zip", FILES),
        "tar": save_tar(folder / "a.tar", FILES),
        "tar.gz": save_tar(folder / "a.tgz", FILES, "w:gz"),
        "folder": save_folder(folder / "a", FILES),
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that holds nothing but what an import leaves in it."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def codes(report: UnpackReport) -> list[str]:
    return [finding.code for finding in report.findings]


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "folder"])
def test_what_was_packed_comes_out(tmp_path: Path, place: Path, form: str) -> None:
    report = unpack_to_folder(sound_sources(tmp_path)[form], place / "m")
    assert (report.form, report.findings, report.is_complete) == (form, (), True)
    assert {file.path: file.size_bytes for file in report.files} == {name: len(FILES[name]) for name in FILES}
    assert {name: (place / "m" / name).read_bytes() for name in FILES} == FILES
    assert [path.name for path in place.iterdir()] == ["m"]
    assert report.size_bytes == sum(map(len, FILES.values()))
    assert report.to_dict()["form"] == form


def test_a_tar_made_of_the_current_folder_is_read(tmp_path: Path, place: Path) -> None:
    save_folder(tmp_path / "m", FILES)
    subprocess.run(["tar", "-czf", tmp_path / "a.tgz", "-C", tmp_path / "m", "."], check=True)
    assert unpack_to_folder(tmp_path / "a.tgz", place / "m").is_complete
    assert (place / "m/model.onnx").read_bytes() == b"graph"


def test_a_sink_gets_every_file_without_a_disk(tmp_path: Path) -> None:
    taken: dict[str, bytes] = {}

    def sink(path: PurePosixPath, stream: BinaryIO) -> None:
        taken[str(path)] = stream.read()

    assert unpack(save_tar(tmp_path / "a.tgz", FILES, "w:gz"), sink).is_complete
    assert taken == FILES


def test_a_folder_that_exists_is_never_touched(tmp_path: Path, place: Path) -> None:
    (place / "m").mkdir()
    with pytest.raises(RepositoryConflictError):
        unpack_to_folder(save_zip(tmp_path / "a.zip", FILES), place / "m")
    assert not list((place / "m").iterdir())


def test_a_failing_sink_is_not_taken_for_a_damaged_archive(tmp_path: Path) -> None:
    def full(path: PurePosixPath, stream: BinaryIO) -> None:
        stream.read()
        raise ValueError("the store says no")

    for source in sound_sources(tmp_path).values():
        with pytest.raises(ValueError, match="the store says no"):
            unpack(source, full)


BAD_NAMES = [
    ("../model.onnx", "path.traversal"),
    ("a/../../model.onnx", "path.traversal"),
    ("/etc/cron.d/model", "path.absolute"),
    ("..\\model.onnx", "path.backslash"),
    ("C:\\model.onnx", "path.backslash"),
    (".ssh/authorized_keys", "path.hidden"),
    ("a\nb", "path.unprintable"),
    ("/".join("a" * 20), "path.too_deep"),
    ("a" * 300, "path.too_long"),
]


@pytest.mark.parametrize(("name", "code"), BAD_NAMES)
@pytest.mark.parametrize("save", [save_zip, save_tar])
def test_a_name_that_leaves_its_folder_is_refused(
    tmp_path: Path, place: Path, save: Callable[[Path, dict[str, bytes]], Path], name: str, code: str
) -> None:
    report = unpack_to_folder(save(tmp_path / "a", {"ok": b"", name: b"x"}), place / "m")
    assert codes(report) == [code]
    assert not list(place.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "place"]


COLLISIONS = [
    ("model", "MODEL"),
    ("caf\u00e9", "cafe\u0301"),
    ("a", "a/b"),
    ("a/b", "a"),
    ("A/x", "a/y"),
    ("s", "\u017f"),
]


@pytest.mark.parametrize("names", COLLISIONS)
@pytest.mark.parametrize("save", [save_zip, save_tar])
def test_names_that_could_be_taken_for_each_other_are_refused(
    tmp_path: Path, place: Path, save: Callable[[Path, dict[str, bytes]], Path], names: tuple[str, str]
) -> None:
    report = unpack_to_folder(save(tmp_path / "a", dict.fromkeys(names, b"x")), place / "m")
    assert codes(report) == ["path.collision"]
    assert not list(place.iterdir())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_refused(tmp_path: Path, place: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model.onnx", b"good")
        archive.writestr("model.onnx", b"evil")
    assert codes(unpack_to_folder(tmp_path / "a.zip", place / "m")) == ["path.collision"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, place: Path, kind: bytes) -> None:
    source = save_special(tmp_path / "a.tar", type=kind, linkname="/etc/passwd")
    assert codes(unpack_to_folder(source, place / "m")) == ["unpack.not_a_file"]
    assert not list(place.iterdir())


def test_a_file_through_a_link_of_the_same_tar_is_never_written(tmp_path: Path, place: Path) -> None:
    (tmp_path / "outside").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link, file = tarfile.TarInfo("w"), tarfile.TarInfo("w/model.onnx")
        link.type, link.linkname, file.size = tarfile.SYMTYPE, str(tmp_path / "outside"), 4
        archive.addfile(link)
        archive.addfile(file, io.BytesIO(b"evil"))
    assert codes(unpack_to_folder(tmp_path / "a.tar", place / "m")) == ["unpack.not_a_file"]
    assert not list((tmp_path / "outside").iterdir())


def zip_entry(**fields: object) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("model.onnx")
    for name, value in fields.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, place: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zip_entry(create_system=3, external_attr=(kind | 0o777) << 16), b"/etc/passwd")
    assert codes(unpack_to_folder(tmp_path / "a.zip", place / "m")) == ["unpack.not_a_file"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_let_an_archive_choose_our_memory_are_refused(tmp_path: Path, place: Path, method: int) -> None:
    source = save_zip(tmp_path / "a.zip", FILES, method)
    assert codes(unpack_to_folder(source, place / "m")) == ["unpack.unknown_method"]


def test_an_encrypted_zip_is_refused(tmp_path: Path, place: Path) -> None:
    content = bytearray(save_zip(tmp_path / "a.zip", {"m": b"x"}).read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert codes(unpack_to_folder(tmp_path / "a.zip", place / "m")) == ["unpack.encrypted"]


def test_a_name_that_ends_at_a_zero_byte_for_some_is_refused(tmp_path: Path, place: Path) -> None:
    content = save_zip(tmp_path / "a.zip", {"aXevil": b"x"}).read_bytes().replace(b"aXevil", b"a\0evil")
    (tmp_path / "a.zip").write_bytes(content)
    assert codes(unpack_to_folder(tmp_path / "a.zip", place / "m")) == ["unpack.two_names"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder link"])
def test_links_and_pipes_in_a_folder_are_refused(tmp_path: Path, place: Path, kind: str) -> None:
    source = save_folder(tmp_path / "a", {"model.onnx": b"x"})
    if kind == "pipe":
        os.mkfifo(source / "pipe")
    else:
        (source / "other").symlink_to("/etc/passwd" if kind == "link" else "/etc")
    assert codes(unpack_to_folder(source, place / "m")) == ["unpack.not_a_file"]
    assert not list(place.iterdir())


def test_a_source_that_is_a_link_or_a_pipe_is_an_error_of_the_caller(tmp_path: Path, place: Path) -> None:
    (tmp_path / "link").symlink_to(save_zip(tmp_path / "a.zip", FILES))
    with pytest.raises(OSError, match="symbolic"):
        unpack_to_folder(tmp_path / "link", place / "m")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RepositoryConflictError):
        unpack_to_folder(tmp_path / "pipe", place / "m")
    assert not list(place.iterdir())


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "folder"])
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (UnpackLimits(max_entries=1), "unpack.too_many_files"),
        (UnpackLimits(max_file_bytes=1000), "unpack.file_too_large"),
        (UnpackLimits(max_total_bytes=99_999), "unpack.too_large"),
    ],
)
def test_limits_hold_for_every_form(tmp_path: Path, place: Path, form: str, limits: UnpackLimits, code: str) -> None:
    assert codes(unpack_to_folder(sound_sources(tmp_path)[form], place / "m", limits)) == [code]
    assert not list(place.iterdir())


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_bomb_stops_at_the_expansion_ratio(tmp_path: Path, place: Path, form: str) -> None:
    zeros = {"model.onnx": bytes(20 * MIB)}
    source = save_zip(tmp_path / "a", zeros) if form == "zip" else save_tar(tmp_path / "a", zeros, "w:gz")
    limits = UnpackLimits(free_expansion_bytes=MIB)
    assert codes(unpack_to_folder(source, place / "m", limits)) == ["unpack.too_large"]
    assert unpack_to_folder(source, place / "m").is_complete


def test_a_zip_that_lies_about_a_size_gets_no_byte_more_than_it_declared(tmp_path: Path, place: Path) -> None:
    content = save_zip(tmp_path / "a.zip", {"model.onnx": bytes(MIB)}).read_bytes()
    lie = content.replace(MIB.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(lie)
    assert codes(unpack_to_folder(tmp_path / "a.zip", place / "m")) == ["unpack.damaged"]


def test_a_cut_or_changed_archive_is_damaged_wherever_it_is_cut(tmp_path: Path, place: Path) -> None:
    noise = {f"part-{index}": random.Random(index).randbytes(3000) for index in range(4)}
    for source in (save_zip(tmp_path / "a.zip", noise), save_tar(tmp_path / "a.tgz", noise, "w:gz")):
        content = source.read_bytes()
        for end in range(10, len(content) - 20, 997):
            source.write_bytes(content[:end])
            assert codes(unpack_to_folder(source, place / "m")) == ["unpack.damaged"], (source.name, end)
        source.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
        assert codes(unpack_to_folder(source, place / "m")) == ["unpack.damaged"]
    plain = save_tar(tmp_path / "a.tar", noise)
    content = plain.read_bytes()
    for end in (512, 513, 4096, 4608, 10_000):
        plain.write_bytes(content[:end])
        assert codes(unpack_to_folder(plain, place / "m")) == ["unpack.damaged"], end
    assert not list(place.iterdir())


def test_an_archive_without_files_and_a_plain_file_are_refused(tmp_path: Path, place: Path) -> None:
    assert codes(unpack_to_folder(save_zip(tmp_path / "a.zip", {}), place / "m")) == ["unpack.empty"]
    assert codes(unpack_to_folder(save_zip(tmp_path / "b.zip", {"folder/": b""}), place / "m")) == ["unpack.empty"]
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08")
    assert codes(unpack_to_folder(tmp_path / "m.onnx", place / "m")) == ["unpack.unknown_form"]


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None)
@given(files=st.dictionaries(names, st.binary(max_size=50), max_size=6))
def test_whatever_the_names_nothing_lands_outside(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    top = tmp_path_factory.mktemp("any")
    source = save_tar(top / "a.tar", files)
    report = unpack_to_folder(source, top / "m")
    assert {path.name for path in top.iterdir()} <= {"a.tar", "m"}
    assert report.is_complete == (top / "m").exists()


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), form=st.sampled_from(["zip", "tar", "tar.gz"]))
@example(position=342, value=1, form="zip")  # an entry that begins before the archive
def test_whatever_byte_is_changed_only_findings_come_of_it(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, form: str
) -> None:
    top = tmp_path_factory.mktemp("any")
    source = sound_sources(top)[form]
    content = bytearray(source.read_bytes())
    content[position % len(content)] = value
    source.write_bytes(content)
    (top / "place").mkdir()
    report = unpack_to_folder(source, top / "place" / "m")
    assert report.is_complete == (top / "place" / "m").exists()
    assert {path.name for path in (top / "place").iterdir()} <= {"m"}
