"""Reads /proc: who a process is, beyond its number, which the kernel gives to another one later."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Stat:
    """The part of ``/proc/<pid>/stat`` that identifies a process. Source: proc(5)."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int
    """Clock ticks between boot and the start of the process (field 22)."""

    @property
    def alive(self) -> bool:
        """False for a process that ended and was not yet collected by its parent."""
        return self.state not in "ZX"


@dataclass(frozen=True)
class Identity:
    """One process, never to be confused with a later one of the same number."""

    pid: int
    start_ticks: int
    command: tuple[str, ...]
    boot_id: str


@cache
def boot_id() -> str:
    """The kernel's name for this boot: start times of another one mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> Stat | None:
    """The process of that number, or None."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces and parentheses itself; the fields begin behind the last one.
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(pid=pid, state=fields[0], parent=int(fields[1]), session=int(fields[3]), start_ticks=int(fields[19]))


def command(pid: int) -> tuple[str, ...]:
    """The command line of a process; empty where it is gone or not ours to read."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in raw.rstrip(b"\0").split(b"\0"))


def identify(pid: int) -> Identity | None:
    """Who the living process of that number is, or None."""
    found = stat(pid)
    if found is None or not found.alive:
        return None
    return Identity(pid=pid, start_ticks=found.start_ticks, command=command(pid), boot_id=boot_id())


def identify_started(pid: int) -> Identity | None:
    """Who a child of ours is that was just started, or None if it already ended.

    Between the moment a start is reported and the moment the kernel filled in the new command line, /proc shows an
    empty one, by which the process would never be recognised again.
    """
    deadline = time.monotonic() + 1.0
    while (found := identify(pid)) is not None and found.command == ("",) and time.monotonic() < deadline:
        time.sleep(0.001)
    return found


def processes() -> Iterator[Stat]:
    """Every process of this machine."""
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (found := stat(int(entry.name))) is not None:
            yield found


def carries(pid: int, variable: str, prefix: str) -> bool:
    """Whether a process was started with a variable whose value begins so; False where we may not look."""
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    wanted = os.fsencode(f"{variable}={prefix}")
    return any(entry.startswith(wanted) for entry in environ.split(b"\0"))


def uptime_s(start_ticks: int) -> float:
    """How long ago a process with that start time began."""
    since_boot_s = float((PROC / "uptime").read_text().split()[0])
    return max(0.0, since_boot_s - start_ticks / os.sysconf("SC_CLK_TCK"))


def listener_of(port: int) -> str | None:
    """A description of the process that listens on a TCP port, or None where /proc does not show it."""
    inodes = set(_listening_inodes(port))
    for found in processes():
        if inodes & set(_socket_inodes(found.pid)):
            # The first arguments tell who it is; later ones may hold a password.
            return f"process {found.pid} ({' '.join(command(found.pid)[:3])[:80]})"
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    listening = "0A"
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == listening and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]
