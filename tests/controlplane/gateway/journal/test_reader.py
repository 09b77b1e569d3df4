import contextlib
import os
from pathlib import Path

import pytest

from controlplane.gateway.journal import Journal
from controlplane.gateway.journal.reader import BatchSpan, JournalReader, find_journals, remove_unfinished
from controlplane.wire.errors import InvalidError
from tests.controlplane.gateway.journal.records import numbered_record


def a_journal(directory: Path, records: int = 5) -> Path:
    journal = Journal.create(directory, capacity=8)
    for index in range(records):
        journal.append(numbered_record(index))
    journal.close()
    (path,) = find_journals(directory)
    return path


def test_a_batch_in_flight_is_found_again_by_the_next_reader(tmp_path: Path) -> None:
    path = a_journal(tmp_path)
    reader = JournalReader(path)
    assert reader.begin_batch(3) == BatchSpan(1, 0, 3)
    reader.close()

    again = JournalReader(path)
    assert again.batch == BatchSpan(1, 0, 3)
    assert again.shipped == 0
    again.acknowledge_batch()
    assert again.shipped == 3
    assert again.begin_batch(5) == BatchSpan(2, 3, 5)
    again.close()


def test_only_one_batch_is_in_flight(tmp_path: Path) -> None:
    reader = JournalReader(a_journal(tmp_path))
    reader.begin_batch(3)
    with pytest.raises(ValueError, match="cannot end"):
        reader.begin_batch(5)
    reader.close()


def test_a_batch_never_covers_what_is_not_committed(tmp_path: Path) -> None:
    reader = JournalReader(a_journal(tmp_path))
    with pytest.raises(ValueError, match="cannot end"):
        reader.begin_batch(6)
    reader.close()


def test_a_journal_in_use_is_not_taken_over(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, capacity=8)
    reader = JournalReader(*find_journals(tmp_path))
    assert not reader.take_over()
    journal.close()
    assert reader.take_over()
    reader.close()


def test_a_journal_with_unshipped_records_is_not_deleted(tmp_path: Path) -> None:
    reader = JournalReader(a_journal(tmp_path))
    with pytest.raises(ValueError, match="not shipped"):
        reader.delete()
    reader.close()


@pytest.mark.parametrize("content", [b"", b"short", os.urandom(8192)], ids=["empty", "short", "noise"])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0.journal"
    path.write_bytes(content)
    with pytest.raises(InvalidError):
        JournalReader(path)


def test_a_journal_whose_creator_died_half_way_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "0.staging").write_bytes(b"")
    path = a_journal(tmp_path)
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


class Dying:
    """The header of an agent that dies right before its n-th store."""

    def __init__(self, words: memoryview, stores: int) -> None:
        self._words = words
        self._stores = stores

    def __getitem__(self, index: int) -> int:
        return int(self._words[index])

    def __setitem__(self, index: int, value: int) -> None:
        if self._stores == 0:
            raise KeyboardInterrupt
        self._stores -= 1
        self._words[index] = value

    def release(self) -> None:
        self._words.release()


@pytest.mark.parametrize("stores", range(12))
def test_an_agent_that_dies_at_any_store_leaves_a_batch_that_is_begun_or_is_not(tmp_path: Path, stores: int) -> None:
    path = a_journal(tmp_path)
    dying = JournalReader(path)
    dying._words = Dying(dying._words, stores)  # type: ignore[assignment]
    sent: dict[int, BatchSpan] = {}
    with contextlib.suppress(KeyboardInterrupt):
        for end in (2, 4, 5):
            batch = dying.begin_batch(end)
            sent[batch.number] = batch
            dying.acknowledge_batch()
    dying.close()

    reader = JournalReader(path)
    while reader.shipped < reader.committed:
        batch = reader.batch or reader.begin_batch(reader.committed)
        assert sent.setdefault(batch.number, batch) == batch, "a number must not be used for other records"
        reader.acknowledge_batch()
    reader.close()
    spans = [sent[number] for number in sorted(sent)]
    assert [span.first for span in spans] == [0, *(span.end for span in spans[:-1])]
    assert spans[-1].end == 5
