"""Starts a stack stage by stage, keeps it running, and stops it in reverse order."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from deploy.embedded import pidfiles, procfs
from deploy.embedded.child import OUTPUT_END_S, Child, copy_output, describe_exit, reap_adopted, spawn
from deploy.embedded.errors import StackError
from deploy.embedded.logs import StackLog
from deploy.embedded.pidfiles import Record
from deploy.embedded.plan import Job, ProcessSpec, Stage

SUPERVISOR = "supervisor"
STATUS_INTERVAL_S = 0.5
PR_SET_CHILD_SUBREAPER = 36
"""Source: prctl(2)."""


class Phase(StrEnum):
    """How far the stack is."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class ProcessStatus:
    """One row of `make status`."""

    name: str
    state: str
    pid: int | None
    start_ticks: int | None
    restarts: int
    ports: tuple[int, ...]


@dataclass(frozen=True)
class Status:
    """What the supervisor says about itself in ``status.json``."""

    phase: Phase
    doing: str
    """What it does just now, or why it failed."""
    processes: tuple[ProcessStatus, ...] = field(default=())


def status_path(run_dir: Path) -> Path:
    """Where the supervisor writes its status."""
    return run_dir / "status.json"


def read_status(run_dir: Path) -> Status | None:
    """The last status that a supervisor wrote, or None."""
    try:
        content = json.loads(status_path(run_dir).read_text())
    except (OSError, ValueError):
        return None
    rows = tuple(ProcessStatus(**{**row, "ports": tuple(row["ports"])}) for row in content["processes"])
    return Status(Phase(content["phase"]), content["doing"], rows)


class Supervisor:
    """Runs the stages of one stack until it is told to stop."""

    def __init__(
        self, stages: Sequence[Stage], run_dir: Path, log: StackLog, before_stage: Callable[[], object] = lambda: None
    ) -> None:
        self.phase = Phase.STARTING
        self.doing = "starting"
        self._stages = stages
        self._run_dir = run_dir
        self._log = log
        self._cookie = pidfiles.new_cookie()
        self._before_stage = before_stage
        self._children: list[Child] = []
        self._stopping = asyncio.Event()

    async def run(self, when_ready: Callable[[], Any]) -> bool:
        """Brings the stack up, calls `when_ready`, and keeps it running until SIGINT, SIGTERM or SIGHUP.

        Returns:
            Whether the stack came up.
        """
        # Orphaned grandchildren come to us instead of init, so that they are collected as soon as they end.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        self._write_pid_file()
        reporting = asyncio.create_task(self._report())
        try:
            return await self._live(when_ready)
        finally:
            reporting.cancel()
            await self._stop_all()
            self._write_status()
            pidfiles.path_for(self._run_dir, SUPERVISOR).unlink(missing_ok=True)

    async def _live(self, when_ready: Callable[[], Any]) -> bool:
        starting = asyncio.create_task(self._start_all())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return False
        try:
            starting.result()
        except StackError as error:
            self._fail(str(error))
            return False
        self.phase, self.doing = Phase.READY, "everything is healthy"
        self._log.write("stack", "everything is healthy")
        self._write_status()
        await asyncio.to_thread(when_ready)
        await stopping
        return True

    async def _start_all(self) -> None:
        for stage in self._stages:
            self._before_stage()
            self.doing = ", ".join(_describe(step) for step in stage)
            self._log.write("stack", self.doing)
            try:
                async with asyncio.TaskGroup() as group:
                    for step in stage:
                        group.create_task(self._start(step))
            except ExceptionGroup as failures:
                # The first failure cancelled the rest; its one sentence is what there is to show.
                raise failures.exceptions[0] from None

    async def _start(self, step: ProcessSpec | Job) -> None:
        if isinstance(step, Job):
            await self._run_job(step)
            return
        child = Child(step, self._run_dir, self._log, self._cookie)
        self._children.append(child)
        await child.start()

    async def _run_job(self, job: Job) -> None:
        cookie = pidfiles.new_cookie(self._cookie)
        spawned = await spawn(job.launch(), cookie)
        process = spawned.process
        record = _record_of(job.name, process.pid, cookie)
        if record is not None:
            pidfiles.write(self._run_dir, record)
        output = asyncio.create_task(copy_output(spawned.output, job.name, self._log))
        try:
            code = await asyncio.wait_for(process.wait(), job.timeout_s)
        except TimeoutError:
            raise StackError(f"Could not {job.purpose}: {job.name} took more than {job.timeout_s:.0f} s.") from None
        finally:
            if record is not None:
                await asyncio.to_thread(pidfiles.kill, record)
            await asyncio.wait({output}, timeout=OUTPUT_END_S)
            pidfiles.path_for(self._run_dir, job.name).unlink(missing_ok=True)
        if code:
            raise StackError(f"Could not {job.purpose}: {job.name} {describe_exit(code)}.")

    async def _stop_all(self) -> None:
        if self.phase is not Phase.FAILED:
            self.phase, self.doing = Phase.STOPPING, "stopping"
        self._write_status()
        for child in reversed(self._children):
            await child.stop()
        reap_adopted()
        if self.phase is not Phase.FAILED:
            self.phase, self.doing = Phase.STOPPED, "stopped"
        self._log.write("stack", "everything is stopped")

    def _fail(self, reason: str) -> None:
        self.phase, self.doing = Phase.FAILED, reason
        self._log.write("stack", f"error: {reason}")

    def _write_pid_file(self) -> None:
        if (record := _record_of(SUPERVISOR, os.getpid(), self._cookie)) is not None:
            pidfiles.write(self._run_dir, record)

    async def _report(self) -> None:
        while True:
            self._write_status()
            reap_adopted()
            await asyncio.sleep(STATUS_INTERVAL_S)

    def _write_status(self) -> None:
        status = Status(self.phase, self.doing, tuple(_row(child) for child in self._children))
        path = status_path(self._run_dir)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(status)))
        draft.replace(path)


def _describe(step: ProcessSpec | Job) -> str:
    return step.purpose if isinstance(step, Job) else f"start {step.name}"


def _record_of(name: str, pid: int, cookie: str) -> Record | None:
    identity = procfs.identify_started(pid)
    return None if identity is None else Record(name, identity, cookie)


def _row(child: Child) -> ProcessStatus:
    identity = child.record.identity if child.record is not None else None
    return ProcessStatus(
        name=child.spec.name,
        state=str(child.state),
        pid=identity.pid if identity else None,
        start_ticks=identity.start_ticks if identity else None,
        restarts=child.restarts,
        ports=child.spec.ports,
    )


def stop_leftovers(run_dir: Path, timeout_s: float) -> list[str]:
    """Ends what a killed supervisor left running, youngest first, and returns the names.

    Only call it while holding the lock of the stack: no supervisor is alive then.
    """
    stopped = []
    for record in reversed(pidfiles.read_all(run_dir)):
        if record.members():
            pidfiles.stop(record, timeout_s)
            stopped.append(record.name)
        pidfiles.path_for(run_dir, record.name).unlink(missing_ok=True)
    return stopped


def wait_until_gone(record: Record, timeout_s: float) -> bool:
    """Waits for a recorded process to end, and says whether it did."""
    deadline = time.monotonic() + timeout_s
    while record.leader_is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(pidfiles.POLL_S)
    return True
