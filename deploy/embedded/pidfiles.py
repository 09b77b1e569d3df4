"""Pid files that survive a crash of the supervisor, and rules that make them safe to act upon.

A process is signalled only if its number, start time, command and boot are those that were written down. Its
descendants carry a random cookie in their environment, so that a pool worker whose parent was killed is found too,
in whatever process group it went, and nothing else is.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.embedded import procfs
from deploy.embedded.procfs import Identity

COOKIE_VARIABLE = "EMBEDDED_STACK_COOKIE"
POLL_S = 0.02


@dataclass(frozen=True)
class Record:
    """What a pid file holds: a process and the cookie of its descendants.

    The cookie of each process begins with that of its supervisor, so the supervisor's own record covers them all,
    also one that was started in the moment before its pid file was written.
    """

    name: str
    identity: Identity
    cookie: str

    def leader_is_alive(self) -> bool:
        """Whether the very process that was written down still runs."""
        return procfs.identify(self.identity.pid) == self.identity

    def members(self) -> list[int]:
        """The living processes of this record: the leader and whatever descends from it."""
        if self.identity.boot_id != procfs.boot_id():
            return []
        return [found.pid for found in procfs.processes() if found.alive and self._owns(found)]

    def _owns(self, found: procfs.Stat) -> bool:
        if found.pid == self.identity.pid:
            return self.leader_is_alive()
        if found.start_ticks < self.identity.start_ticks:
            return False
        return procfs.carries(found.pid, COOKIE_VARIABLE, self.cookie)


def new_cookie(parent: str = "") -> str:
    """A cookie that no other process carries, within that of a supervisor."""
    return f"{parent}{secrets.token_hex(16)}."


def path_for(run_dir: Path, name: str) -> Path:
    """Where the pid file of a process lies."""
    return run_dir / f"{name}.pid"


def write(run_dir: Path, record: Record) -> None:
    """Writes a pid file whole or not at all."""
    path = path_for(run_dir, record.name)
    draft = path.with_suffix(".pid.tmp")
    draft.write_text(json.dumps(asdict(record)))
    draft.replace(path)


def read(path: Path) -> Record | None:
    """The record in a pid file; None where there is none or it cannot be trusted."""
    try:
        content = json.loads(path.read_text())
        identity = content["identity"] | {"command": tuple(content["identity"]["command"])}
        return Record(content["name"], Identity(**identity), content["cookie"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_all(run_dir: Path) -> list[Record]:
    """The records of a run folder, oldest process first."""
    records = [record for path in run_dir.glob("*.pid") if (record := read(path)) is not None]
    return sorted(records, key=lambda record: record.identity.start_ticks)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signals processes that were just identified; one that ended meanwhile is no error."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def stop(record: Record, timeout_s: float) -> None:
    """Ends a recorded process and its descendants: SIGTERM, a deadline, SIGKILL."""
    if record.leader_is_alive():
        # The leader alone: it ends its own workers better than a signal to each of them.
        send([record.identity.pid], signal.SIGTERM)
        _wait(record.leader_is_alive, timeout_s)
    kill(record)


def kill(record: Record) -> set[int]:
    """SIGKILL to what is left of a recorded process; returns who that was when nothing is left."""
    killed: set[int] = set()
    # Two looks in a row: while a process is replaced by another program, /proc shows it without its environment.
    looks_left = 2

    def somebody_is_left() -> bool:
        nonlocal looks_left
        members = record.members()
        send(members, signal.SIGKILL)
        killed.update(members)
        looks_left = 2 if members else looks_left - 1
        return looks_left > 0

    _wait(somebody_is_left, timeout_s=5)
    return killed


def _wait(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)
