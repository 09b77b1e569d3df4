import stat
from pathlib import Path

import pytest

from controlplane.gateway.agent.snapshot_file import SnapshotFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot.lkg"


def test_a_base_and_the_changes_after_it_are_found_again_in_order(path: Path) -> None:
    file = SnapshotFile(path)
    assert list(file.envelopes()) == []
    file.replace(b"base")
    file.append(b"one")
    file.append(b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = SnapshotFile(path)
    assert list(again.envelopes()) == [b"base", b"one", b"two"]
    again.append(b"three")
    assert list(SnapshotFile(path).envelopes()) == [b"base", b"one", b"two", b"three"]
    again.replace(b"new base")
    assert list(SnapshotFile(path).envelopes()) == [b"new base"]
    assert list(path.parent.iterdir()) == [path]


def test_a_torn_end_is_ignored_and_written_over_at_every_length(path: Path) -> None:
    file = SnapshotFile(path)
    file.replace(b"base")
    whole = path.stat().st_size
    file.append(b"changes")
    content = path.read_bytes()
    for length in range(whole, len(content)):
        path.write_bytes(content[:length])
        again = SnapshotFile(path)
        assert list(again.envelopes()) == [b"base"]
        again.append(b"other")
        assert list(SnapshotFile(path).envelopes()) == [b"base", b"other"]


def test_an_envelope_that_its_reader_refused_is_written_over(path: Path) -> None:
    file = SnapshotFile(path)
    file.replace(b"base")
    file.append(b"bad")
    again = SnapshotFile(path)
    for envelope in again.envelopes():
        if envelope == b"bad":
            break
    again.append(b"good")
    assert list(SnapshotFile(path).envelopes()) == [b"base", b"good"]


def test_a_foreign_file_holds_nothing_and_wants_a_base(path: Path) -> None:
    path.write_bytes(b"something else entirely")
    file = SnapshotFile(path)
    assert list(file.envelopes()) == []
    file.append(b"changes without a base")
    assert file.wants_base
    file.replace(b"base")
    assert not file.wants_base
    assert list(SnapshotFile(path).envelopes()) == [b"base"]


def test_a_file_that_grew_long_wants_a_base(path: Path) -> None:
    file = SnapshotFile(path)
    file.replace(b"base")
    for _ in range(3):
        assert not file.wants_base
        file.append(bytes(400_000))
    assert file.wants_base


def test_after_a_write_that_failed_a_base_is_wanted_and_no_hole_is_left(path: Path) -> None:
    file = SnapshotFile(path)
    file.replace(b"base")
    hidden = path.rename(path.with_suffix(".hidden"))
    with pytest.raises(FileNotFoundError):
        file.append(b"lost")
    hidden.rename(path)
    assert file.wants_base
    file.append(b"after the hole")
    assert list(SnapshotFile(path).envelopes()) == [b"base"]


def test_the_file_knows_when_its_orders_were_confirmed(path: Path) -> None:
    file = SnapshotFile(path)
    file.confirm(1_700_000_000.5)
    file.replace(b"base")
    file.confirm(1_700_000_000.5)
    assert SnapshotFile(path).confirmed_at_s() == 1_700_000_000.5
