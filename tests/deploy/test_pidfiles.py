"""Nothing is signalled unless number, start time, command and boot are those that were written down."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded import pidfiles, procfs
from deploy.embedded.pidfiles import COOKIE_VARIABLE, Record

COOKIE = "0123456789abcdef."


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, COOKIE_VARIABLE: COOKIE}
    with subprocess.Popen(["sleep", "60"], env=environment) as process:
        yield process
        process.kill()


@pytest.fixture
def record(sleeper: subprocess.Popen[bytes]) -> Record:
    identity = procfs.identify_started(sleeper.pid)
    assert identity is not None
    return Record("sleeper", identity, COOKIE)


def test_an_identity_holds_what_proc_says(record: Record) -> None:
    assert record.identity.command == ("sleep", "60")
    assert record.identity.start_ticks > 0
    assert 0 <= procfs.uptime_s(record.identity.start_ticks) < 60


def test_a_record_survives_being_written_and_read(record: Record, tmp_path: Path) -> None:
    pidfiles.write(tmp_path, record)
    assert pidfiles.read_all(tmp_path) == [record]


@pytest.mark.parametrize(
    "content", ["", "12345", "[]", '{"name": "x"}', '{"name":"x","identity":{"pid":1},"cookie":""}']
)
def test_a_damaged_pid_file_names_nobody(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.pid").write_text(content)
    assert pidfiles.read_all(tmp_path) == []


def test_the_process_that_was_written_down_is_alive(record: Record) -> None:
    assert record.leader_is_alive()
    assert record.members() == [record.identity.pid]


def test_another_process_of_the_same_number_is_not_touched(record: Record, sleeper: subprocess.Popen[bytes]) -> None:
    # Without its cookie, which would rightly tell that it descends from ours.
    stranger = replace(record, cookie="another.")
    for identity in (
        replace(record.identity, start_ticks=record.identity.start_ticks - 1),
        replace(record.identity, command=("sleep", "61")),
        replace(record.identity, boot_id="another boot"),
    ):
        recycled = replace(stranger, identity=identity)
        assert not recycled.leader_is_alive()
        pidfiles.stop(recycled, timeout_s=0.1)
    assert sleeper.poll() is None


def test_a_descendant_is_found_by_its_cookie_alone(record: Record, sleeper: subprocess.Popen[bytes]) -> None:
    parent = replace(record, identity=replace(record.identity, pid=2**22 + 1))
    assert parent.members() == [sleeper.pid]
    assert replace(parent, cookie=COOKIE[:8]).members() == [sleeper.pid]
    assert replace(parent, cookie="f" + COOKIE).members() == []


def test_a_process_older_than_the_record_is_no_descendant(record: Record) -> None:
    later = replace(record.identity, pid=2**22 + 1, start_ticks=record.identity.start_ticks + 1)
    assert replace(record, identity=later).members() == []


def test_a_cookie_of_another_boot_finds_nobody(record: Record) -> None:
    assert replace(record, identity=replace(record.identity, boot_id="another boot")).members() == []


def test_stop_ends_the_process(record: Record, sleeper: subprocess.Popen[bytes]) -> None:
    pidfiles.stop(record, timeout_s=5)
    assert sleeper.wait(5) is not None
    assert record.members() == []


def test_a_name_with_spaces_and_parentheses_is_read_right(tmp_path: Path) -> None:
    odd = tmp_path / "a) S (b"
    odd.symlink_to(sys.executable)
    with subprocess.Popen([odd, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = procfs.stat(process.pid)
        assert found is not None
        assert (found.pid, found.parent, found.alive) == (process.pid, os.getpid(), True)
        process.kill()
