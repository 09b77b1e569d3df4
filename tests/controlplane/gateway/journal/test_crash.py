import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.gateway.journal.batches import BatchSource
from controlplane.gateway.journal.format import RECORD_BYTES, Span
from controlplane.gateway.journal.reader import JournalReader, find_journals
from tests.controlplane.gateway.journal.records import is_whole


def start(directory: Path, capacity: int, *options: str) -> subprocess.Popen[bytes]:
    module = "tests.controlplane.gateway.journal.appender"
    command = [sys.executable, "-m", module, str(directory), str(capacity), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def run_and_kill(directory: Path, capacity: int, *, after_records: int, shipping: bool) -> tuple[int, int]:
    """Records that a killed worker said it had appended, and those that were shipped while it lived."""
    sources: dict[Path, BatchSource] = {}
    shipped = said = 0
    with start(directory, capacity) as worker:
        assert worker.stdout is not None
        while said < after_records:
            said += len(os.read(worker.stdout.fileno(), 65536))
            if shipping:
                shipped += ship(directory, sources)
        worker.kill()
        said += len(worker.stdout.read())
    for source in sources.values():
        source.journal.close()
    return said, shipped


def ship(directory: Path, sources: dict[Path, BatchSource]) -> int:
    shipped = 0
    for path in find_journals(directory):
        source = sources.get(path) or sources.setdefault(path, BatchSource(JournalReader(path), "gateway-1"))
        source.observe(lambda _: None)
        while batch := source.next_batch():
            shipped += sum(row.requests for row in batch.rows)
            # A torn record would be a group of its own whose fields contradict each other.
            assert all(row.bytes_in == row.bytes_out == row.key * row.requests for row in batch.rows)
            source.acknowledge()
        if source.retire():
            del sources[path]
    return shipped


def kill_at_full_speed(directory: Path, after_s: float) -> None:
    with start(directory, 2**12, "silent") as worker:
        assert worker.stdout is not None
        worker.stdout.read(1)
        time.sleep(after_s)  # any moment will do
        worker.kill()


def count_whole_records(directory: Path) -> int:
    """Records that nobody shipped; each must be whole, and its journal free to be taken over."""
    count = 0
    for path in find_journals(directory):
        reader = JournalReader(path)
        packed = reader.read(Span(reader.shipped, reader.committed))
        assert all(is_whole(packed[start : start + RECORD_BYTES]) for start in range(0, len(packed), RECORD_BYTES))
        count += reader.committed - reader.shipped
        assert reader.take_over()
        reader.close()
    return count


def check_rounds(tmp_path: Path, rounds: int, *, capacity: int, shipping: bool) -> None:
    chance = random.Random(rounds)
    for number in range(rounds):
        directory = tmp_path / str(number)
        said, shipped = run_and_kill(directory, capacity, after_records=chance.randrange(1, 20_000), shipping=shipping)
        left = count_whole_records(directory)
        # The worker may have died between the record and the byte that says so, never the other way round.
        assert shipped + left in {said, said + 1}


def check_full_speed(tmp_path: Path, rounds: int) -> None:
    chance = random.Random(rounds)
    for number in range(rounds):
        directory = tmp_path / str(number)
        kill_at_full_speed(directory, chance.uniform(0.0, 0.03))
        count_whole_records(directory)


def test_a_worker_killed_at_full_speed_leaves_no_torn_record(tmp_path: Path) -> None:
    check_full_speed(tmp_path, 20)


def test_a_killed_worker_leaves_whole_records_and_every_one_it_answered_for(tmp_path: Path) -> None:
    check_rounds(tmp_path, 15, capacity=2**15, shipping=False)


def test_a_worker_killed_while_its_journal_is_shipped_and_renewed_loses_nothing(tmp_path: Path) -> None:
    check_rounds(tmp_path, 10, capacity=64, shipping=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_killed_workers_leave_whole_records(tmp_path: Path) -> None:
    check_full_speed(tmp_path / "full speed", 500)
    check_rounds(tmp_path, 250, capacity=2**15, shipping=False)
    check_rounds(tmp_path / "shipping", 250, capacity=64, shipping=True)
