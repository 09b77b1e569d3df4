"""One supervised process: started, watched, restarted with a growing pause, and stopped with all its descendants."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deploy.embedded import pidfiles, procfs
from deploy.embedded.errors import StackError
from deploy.embedded.logs import StackLog
from deploy.embedded.pidfiles import COOKIE_VARIABLE, Record
from deploy.embedded.plan import Launch, ProcessSpec

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
"""A process that ran this long has recovered: its next crash counts as the first."""
ATTEMPTS_TO_START = 3
PROBE_INTERVAL_S = 0.1
OUTPUT_END_S = 1.0
LINE_LIMIT_BYTES = 1_000_000


class State(StrEnum):
    """What `make status` shows of a process."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting to restart"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Spawned:
    """A started process and what it prints."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader


async def _open_pipe() -> tuple[asyncio.StreamReader, int]:
    reading, writing = os.pipe()
    reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb"))
    return reader, writing


async def spawn(launch: Launch, cookie: str) -> Spawned:
    """Starts a command in a session of its own, its output on one pipe.

    A session of its own keeps a Ctrl-C in the terminal from reaching the children: we stop them, in order. They get
    no parent-death signal: a supervisor that is killed must not take a serving gateway and Triton with it; the pid
    files let `make down` and the next `make up` find them. For the same reason SIGPIPE stays ignored: a log line into
    the pipe of a dead supervisor must not kill the writer. The pipe is our own, because with one of asyncio's the end
    of a process is reported only after its descendants closed theirs.

    Raises:
        StackError: the command cannot be started.
    """
    reader, writing = await _open_pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *launch.command,
            env={**launch.environment, COOKIE_VARIABLE: cookie},
            cwd=launch.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            restore_signals=False,
        )
    except OSError as error:
        raise StackError(
            f"{launch.command[0]} cannot be started ({error.strerror}): run `make up` to repair."
        ) from None
    finally:
        os.close(writing)
    return Spawned(process, reader)


async def copy_output(output: asyncio.StreamReader, name: str, log: StackLog) -> None:
    """Writes the output of a process into the log until the last of its descendants closed it."""
    while True:
        try:
            line = await output.readline()
        except ValueError:
            log.write(name, f"(a line of more than {LINE_LIMIT_BYTES:,} bytes was left out)")
            continue
        if not line:
            return
        log.write(name, line.decode(errors="replace").rstrip())


def describe_exit(code: int) -> str:
    """How a process ended, in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"


class Child:
    """Keeps one process of the stack running until it is told to stop."""

    def __init__(self, spec: ProcessSpec, run_dir: Path, log: StackLog, family: str) -> None:
        self.spec = spec
        self.state = State.STOPPED
        self.restarts = 0
        self.record: Record | None = None
        self._run_dir = run_dir
        self._log = log
        self._family = family
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._output: asyncio.Task[None] | None = None
        self._gave_up: str | None = None
        self._was_ready = False

    async def start(self) -> None:
        """Starts the process and returns when it is ready.

        Raises:
            StackError: it ended again and again, or was not ready in time.
        """
        self._watcher = asyncio.create_task(self._keep_running(), name=f"watch {self.spec.name}")
        deadline = time.monotonic() + self.spec.start_timeout_s
        while self.state is not State.READY:
            if self._watcher.done():
                raise StackError(f"{self.spec.name} does not start: {self._gave_up}.")
            if time.monotonic() > deadline:
                raise StackError(f"{self.spec.name} was not ready after {self.spec.start_timeout_s:.0f} s.")
            await asyncio.sleep(PROBE_INTERVAL_S)
        self._was_ready = True

    async def stop(self) -> None:
        """Ends the process and everything that descends from it: SIGTERM, a deadline, SIGKILL."""
        self.state = State.STOPPING
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        if self._process is not None and self._process.returncode is None:
            self._log.write("stack", f"stopping {self.spec.name}")
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), self.spec.stop_timeout_s)
            except TimeoutError:
                self._log.write("stack", f"{self.spec.name} did not stop in {self.spec.stop_timeout_s:.0f} s: killed")
        await self._clear()
        self.state = State.STOPPED

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            outcome = await self._run_once()
            failures = 1 if time.monotonic() - began > STEADY_AFTER_S else failures + 1
            if not self._was_ready and failures >= ATTEMPTS_TO_START:
                self._gave_up = f"{outcome}, {failures} times"
                return
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1))
            self.state = State.WAITING
            self._log.write("stack", f"{self.spec.name} {outcome}; it starts again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            self.restarts += 1

    async def _run_once(self) -> str:
        self.state = State.STARTING
        cookie = pidfiles.new_cookie(self._family)
        try:
            spawned = await spawn(self.spec.launch(), cookie)
        except StackError as error:
            return f"could not be started ({error})"
        self._process = process = spawned.process
        self._output = asyncio.create_task(copy_output(spawned.output, self.spec.name, self._log))
        if (identity := procfs.identify_started(process.pid)) is not None:
            self.record = Record(self.spec.name, identity, cookie)
            pidfiles.write(self._run_dir, self.record)
        probing = asyncio.create_task(self._probe())
        try:
            code = await process.wait()
        finally:
            probing.cancel()
        await self._clear()
        return describe_exit(code)

    async def _probe(self) -> None:
        if self.spec.ready is None:
            await asyncio.sleep(self.spec.settle_s)
        else:
            while not await self.spec.ready():  # noqa: ASYNC110 - another process cannot set an event of ours
                await asyncio.sleep(PROBE_INTERVAL_S)
        self.state = State.READY

    async def _clear(self) -> None:
        # In a thread: it reads /proc and waits, and the other processes' output must not.
        if self.record is not None:
            killed = await asyncio.to_thread(pidfiles.kill, self.record)
            reap_adopted(killed - {self.record.identity.pid})
        if self._output is not None:
            # It ends only now: descendants may have held the pipe open.
            await asyncio.wait({self._output}, timeout=OUTPUT_END_S)
            self._output.cancel()
        await asyncio.to_thread(self.spec.clean_up)
        pidfiles.path_for(self._run_dir, self.spec.name).unlink(missing_ok=True)


def reap_adopted(known: Collection[int] = ()) -> None:
    """Collects ended descendants that the kernel gave to us when their own parent ended.

    Our own children lead the sessions that `spawn` made for them, and asyncio collects those; so whoever leads a
    session is left alone, unless it is `known` to be a descendant.
    """
    for found in list(procfs.processes()):
        adopted = found.parent == os.getpid() and (found.session != found.pid or found.pid in known)
        if adopted and not found.alive:
            with suppress(ChildProcessError):
                os.waitpid(found.pid, os.WNOHANG)
