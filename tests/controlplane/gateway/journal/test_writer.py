import stat
import time
from pathlib import Path

import pytest

from controlplane.gateway.journal import Journal
from controlplane.gateway.journal.format import Span
from controlplane.gateway.journal.reader import JournalReader, find_journals
from tests.controlplane.gateway.journal.records import numbered_record


def test_what_is_appended_is_committed_in_order(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, capacity=8)
    for index in range(5):
        journal.append(numbered_record(index))
    reader = JournalReader(*find_journals(tmp_path))
    assert reader.journal_id == journal.journal_id
    assert reader.committed == 5
    assert reader.read(Span(0, 5)) == b"".join(map(numbered_record, range(5)))
    reader.close()
    journal.close()


def test_a_journal_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Journal.create(tmp_path / "journals", capacity=8).close()
    (path,) = find_journals(tmp_path / "journals")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_full_ring_goes_on_in_another_file_and_overwrites_nothing(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, capacity=8)
    first = journal.journal_id
    for index in range(20):
        journal.append(numbered_record(index))
    readers = [JournalReader(path) for path in find_journals(tmp_path)]
    assert journal.journal_id != first
    assert [reader.committed for reader in readers] == [8, 8, 4]
    assert [reader.take_over() for reader in readers] == [True, True, False]
    kept = b"".join(reader.read(Span(0, reader.committed)) for reader in readers)
    assert kept == b"".join(map(numbered_record, range(20)))
    for reader in readers:
        reader.close()
    journal.close()


def test_a_ring_that_is_emptied_is_used_again(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, capacity=8)
    (path,) = find_journals(tmp_path)
    reader = JournalReader(path)
    for index in range(50):
        journal.append(numbered_record(index))
        if index % 7 == 6:
            batch = reader.begin_batch(reader.committed)
            expected = b"".join(map(numbered_record, range(batch.first, batch.end)))
            assert reader.read(Span(batch.first, batch.end)) == expected
            reader.acknowledge_batch()
    assert find_journals(tmp_path) == [path]
    reader.close()
    journal.close()


def test_a_record_of_another_size_is_refused(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, capacity=8)
    with pytest.raises(IndexError):
        journal.append(b"short")
    (path,) = find_journals(tmp_path)
    reader = JournalReader(path)
    assert reader.committed == 0
    reader.close()
    journal.close()


def test_appending_costs_about_a_microsecond_at_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal.create(tmp_path)
    record, rounds = numbered_record(1), 100_000
    started = time.perf_counter()
    for _ in range(rounds):
        journal.append(record)
    with capsys.disabled():
        print(f"\njournal.append: {(time.perf_counter() - started) / rounds * 1e9:.0f} ns a record")  # noqa: T201
    journal.close()
