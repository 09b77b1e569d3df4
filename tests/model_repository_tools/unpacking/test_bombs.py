import gzip
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model_repository_tools.unpacking.test_unpack import MIB, save_tar


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that holds nothing but what an import leaves in it."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def bomb_of_headers(path: Path) -> None:
    """A pax header of 1 GiB, as some kilobytes of gzip."""
    header = tarfile.TarInfo("h")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    with gzip.open(path, "wb", 9) as file:
        file.write(header.tobuf())
        for _ in range(64):
            file.write(bytes(MIB))


def bomb_of_sparse_maps(path: Path) -> None:
    entry = tarfile.TarInfo("m")
    entry.size = 64 * MIB
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "m"}
    with gzip.open(path, "wb", 9) as file:
        file.write(entry.tobuf(tarfile.PAX_FORMAT))
        file.write(b"10000000\n" + b"1\n" * (32 * MIB))


def bomb_of_long_names(path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 512
    with gzip.open(path, "wb", 9) as file:
        for _ in range(100_000):
            file.write(header.tobuf() + b"a" * 512)


def bomb_of_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(200_000):
            archive.writestr(f"{index:x}", b"")


def bomb_of_zeros(path: Path) -> None:
    with gzip.open(path, "wb", 9) as file:
        entry = tarfile.TarInfo("m")
        entry.size = 2 << 30
        file.write(entry.tobuf())
        for _ in range(2 << 10):
            file.write(bytes(MIB))


MEASURE = """
import sys
from pathlib import Path
from model_repository_tools.unpacking import unpack_to_folder

def peak_kib():
    # Not ru_maxrss: across exec it keeps the peak of whoever started us.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak_kib()
report = unpack_to_folder(Path(sys.argv[1]), Path(sys.argv[2]))
print(report.findings[0].code if report.findings else "-", peak_kib() - before)
"""


def measured(source: Path, target: Path) -> tuple[str, int]:
    """Unpack in a process of its own; return the finding's code and the peak of memory, in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(source), str(target)], capture_output=True, text=True, check=True
    )
    code, kibibytes = done.stdout.split()
    return code, int(kibibytes)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (bomb_of_headers, "unpack.header_too_large"),
        (bomb_of_sparse_maps, "unpack.header_too_large"),
        (bomb_of_long_names, "unpack.damaged"),
        (bomb_of_entries, "unpack.header_too_large"),
        (bomb_of_zeros, "unpack.too_large"),
    ],
)
def test_a_bomb_costs_no_memory(tmp_path: Path, place: Path, make: Callable[[Path], None], code: str) -> None:
    make(tmp_path / "bomb")
    found, kibibytes = measured(tmp_path / "bomb", place / "m")
    assert found == code
    assert kibibytes < 40 << 10
    assert not list(place.iterdir())


def test_memory_does_not_grow_with_the_files(tmp_path: Path, place: Path) -> None:
    noise = random.Random(1).randbytes(64 * MIB)
    source = save_tar(tmp_path / "a.tar", {"a": noise, "b": noise, "c": noise})
    code, kibibytes = measured(source, place / "m")
    assert code == "-"
    assert kibibytes < 20 << 10
