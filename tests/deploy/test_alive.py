from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from controlplane.snapshots.leases import acquire, release
from deploy.docker import alive
from tests.deploy.compose_rules import Project, load, words


def test_the_check_of_beat_looks_where_beat_writes() -> None:
    command = words(Project(load()).services["beat"])
    assert command[command.index("--schedule") + 1] == str(alive.BEAT_SCHEDULE)
    # It writes every 3 minutes, when it wakes.
    assert 180 + float(command[command.index("--max-interval") + 1]) < alive.BEAT_PATIENCE_S


def test_beat_counts_as_alive_while_it_writes_its_schedule(tmp_path: Path) -> None:
    schedule = tmp_path / "schedule"
    assert "never" in alive.beat(schedule)
    (tmp_path / "schedule.dat").touch()
    assert alive.beat(schedule) == ""
    long_ago = time.time() - alive.BEAT_PATIENCE_S - 1
    os.utime(tmp_path / "schedule.dat", (long_ago, long_ago))
    assert "last written" in alive.beat(schedule)


@pytest.mark.django_db
def test_the_controller_counts_as_alive_while_one_leads() -> None:
    assert alive.controller() == "no controller holds the lease"
    lease = acquire("host:1:x")
    assert lease is not None
    assert alive.controller() == ""
    release(lease)
    assert alive.controller() != ""
