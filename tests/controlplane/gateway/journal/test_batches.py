from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.gateway.journal import Journal, batches
from controlplane.gateway.journal.batches import BatchSource
from controlplane.gateway.journal.reader import JournalReader, find_journals
from controlplane.gateway.journal.sums import Digest
from controlplane.wire.usage import UsageBatch, decode_batch, encode_batch
from tests.controlplane.gateway.journal.records import usage_record


class Ledger:
    """Counts as the control plane does: each (journal, number) once."""

    def __init__(self) -> None:
        self.counted: Counter[int] = Counter()
        self.batches: dict[tuple[str, int], UsageBatch] = {}

    def count(self, batch: UsageBatch) -> None:
        batch = decode_batch(encode_batch(batch))
        known = self.batches.setdefault((batch.journal, batch.number), batch)
        assert sorted(known.rows, key=str) == sorted(batch.rows, key=str), "a repeated batch must not have changed"
        if known is batch:
            for row in batch.rows:
                self.counted[row.key] += row.requests


class Measured:
    """Counts as the metrics do."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, digest: Digest) -> None:
        self.requests += sum(sums.requests for sums in digest.groups.values())


def open_source(path: Path) -> BatchSource:
    return BatchSource(JournalReader(path), "gateway-1")


def test_records_become_one_batch_that_adds_up(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, capacity=64)
    for key in (1, 1, 2):
        journal.append(usage_record(key=key))
    source = open_source(*find_journals(tmp_path))
    measured = Measured()
    assert source.next_batch() is None
    while source.observe(measured):
        pass
    batch = source.next_batch()
    assert batch is not None
    assert (batch.gateway, batch.journal, batch.number) == ("gateway-1", journal.journal_id, 1)
    assert (batch.first, batch.end, len(batch.rows), measured.requests) == (0, 3, 2, 3)
    assert source.unshipped == 3
    source.acknowledge()
    assert source.unshipped == 0
    assert source.next_batch() is None
    source.journal.close()
    journal.close()


def test_a_journal_is_deleted_once_it_is_shipped_and_given_up(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, capacity=64)
    source = open_source(*find_journals(tmp_path))
    assert not source.retire()
    journal.append(usage_record())
    journal.close()
    assert not source.retire()
    source.observe(Measured())
    assert source.next_batch()
    source.acknowledge()
    assert source.retire()
    assert find_journals(tmp_path) == []


def test_many_keys_are_split_over_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_ROWS", 10)
    monkeypatch.setattr(batches, "READ_RECORDS", 4)
    journal = Journal.create(tmp_path, capacity=64)
    for key in range(50):
        journal.append(usage_record(key=key))
    source, ledger = open_source(*find_journals(tmp_path)), Ledger()
    while source.observe(Measured()):
        pass
    while batch := source.next_batch():
        assert len(batch.rows) < 10 + 4
        ledger.count(batch)
        source.acknowledge()
    assert ledger.counted == Counter(range(50))
    source.journal.close()
    journal.close()


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 12)),
        st.tuples(
            st.sampled_from(["observe", "begin", "send", "acknowledge", "kill_agent", "kill_worker"]), st.just(0)
        ),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(_steps)
def test_each_record_is_counted_once_whatever_dies_between_begin_send_and_acknowledge(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("journals")
    journal = Journal.create(directory, capacity=16)
    sources: dict[Path, BatchSource] = {}
    ledger, measured, served = Ledger(), Measured(), 0

    def discover() -> list[BatchSource]:
        for path in find_journals(directory):
            if path not in sources:
                sources[path] = open_source(path)
        return list(sources.values())

    def drop_agent() -> None:
        for source in sources.values():
            source.journal.close()
        sources.clear()

    for step, count in [*steps, ("kill_agent", 0), ("kill_worker", 0)]:
        if step == "append":
            for _ in range(count):
                journal.append(usage_record(key=served))
                served += 1
        elif step == "kill_worker":
            journal.close()  # what the kernel does to the dead: the lock is gone, the mapping stays
            journal = Journal.create(directory, capacity=16)
        elif step == "kill_agent":
            drop_agent()
        for source in discover():
            batch = source.next_batch() if step in {"begin", "send", "acknowledge"} else None
            if step == "observe":
                source.observe(measured)
            if batch and step in {"send", "acknowledge"}:
                ledger.count(batch)
            if batch and step == "acknowledge":
                source.acknowledge()
    journal.close()
    for path, source in list(sources.items()):
        while source.observe(measured):
            pass
        while batch := source.next_batch():
            ledger.count(batch)
            source.acknowledge()
        assert source.retire(), path
    discover()
    assert find_journals(directory) == []
    assert ledger.counted == Counter(range(served))
    assert measured.requests == served
