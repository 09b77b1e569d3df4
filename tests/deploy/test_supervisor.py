"""The supervisor with real small processes: order, restarts, and nothing left behind, whoever is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.embedded import pidfiles, supervisor
from deploy.embedded.supervisor import Phase, ProcessStatus

PATIENCE_S = 20.0


def wait_for(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)


class SmallStack:
    """One supervisor over tiny processes, in a process of its own so that it can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, scenario: str, **environment: str) -> None:
        command = [sys.executable, "-m", "tests.deploy.small_stack", str(self.folder), scenario]
        self.process = subprocess.Popen(command, env={**os.environ, **environment})

    def start_ready(self, scenario: str, **environment: str) -> None:
        self.start(scenario, **environment)
        wait_for(lambda: self.phase() is Phase.READY)

    def phase(self) -> Phase | None:
        status = supervisor.read_status(self.folder)
        return status.phase if status else None

    def row(self, name: str) -> ProcessStatus:
        status = supervisor.read_status(self.folder)
        assert status is not None
        return next(row for row in status.processes if row.name == name)

    def survivors(self) -> list[str]:
        """Every living process that names this folder, except this one."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline", "status"]):
            named = str(self.folder) in (process.info["cmdline"] or [])
            if named and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(f"{process.info['pid']} {process.info['cmdline'][-2:]}")
        return found

    @property
    def log(self) -> str:
        return (self.folder / "stack.log").read_text()

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[SmallStack]:
    started = SmallStack(tmp_path)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()
    supervisor.stop_leftovers(tmp_path, 0.1)


def test_processes_stop_in_reverse_order_and_nothing_is_left(stack: SmallStack) -> None:
    stack.start_ready("orderly")
    wait_for(lambda: "hello from second" in stack.log)
    assert len(stack.survivors()) == 3
    assert stack.end() == 0
    assert (stack.folder / "stopped").read_text().split() == ["second", "first"]
    assert stack.survivors() == []
    assert stack.phase() is Phase.STOPPED
    assert list(stack.folder.glob("*.pid")) == []


def test_every_line_of_the_log_has_its_time_and_process(stack: SmallStack) -> None:
    stack.start_ready("orderly")
    wait_for(lambda: "hello from second" in stack.log)
    line = next(line for line in stack.log.splitlines() if "in between" in line)
    assert line[4] == "-"
    assert line[13] == ":"
    assert line.split()[2] == "between"


def test_ctrl_c_stops_the_stack_too(stack: SmallStack) -> None:
    stack.start_ready("orderly")
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(PATIENCE_S) == 0
    assert stack.survivors() == []


def test_a_crashed_process_is_restarted_and_counted(stack: SmallStack) -> None:
    stack.start_ready("orderly")
    crashed = stack.row("first").pid
    assert crashed is not None
    os.kill(crashed, signal.SIGKILL)
    wait_for(lambda: stack.row("first").restarts == 1 and stack.row("first").state == "ready")
    assert stack.row("first").pid not in (None, crashed)
    assert "first killed by SIGKILL; it starts again in 0.5 s" in stack.log


def test_a_crashed_process_takes_its_descendants_with_it_before_it_restarts(stack: SmallStack) -> None:
    stack.start_ready("stubborn")
    family = stack.row("family").pid
    assert family is not None
    wait_for(lambda: len(psutil.Process(family).children()) == 2)
    descendants = psutil.Process(family).children()
    os.kill(family, signal.SIGKILL)
    wait_for(lambda: stack.row("family").restarts == 1)
    assert not any(child.is_running() for child in descendants)


def test_a_process_that_ignores_sigterm_is_killed_with_its_descendants(stack: SmallStack) -> None:
    stack.start_ready("stubborn")
    wait_for(lambda: len(stack.survivors()) == 5)
    stack.end()
    assert stack.survivors() == []
    assert "family did not stop" in stack.log


def test_after_kill_9_of_the_supervisor_its_processes_run_on_and_are_found(stack: SmallStack) -> None:
    stack.start_ready("stubborn")
    wait_for(lambda: len(stack.survivors()) == 5)
    stack.process.kill()
    stack.process.wait()
    assert len(stack.survivors()) == 4
    assert supervisor.stop_leftovers(stack.folder, 0.5) == ["family", "first"]
    assert stack.survivors() == []
    assert list(stack.folder.glob("*.pid")) == []


def test_descendants_are_found_when_their_parent_was_killed_as_well(stack: SmallStack) -> None:
    stack.start_ready("stubborn")
    wait_for(lambda: len(stack.survivors()) == 5)
    family = stack.row("family").pid
    assert family is not None
    stack.process.kill()
    stack.process.wait()
    os.kill(family, signal.SIGKILL)
    supervisor.stop_leftovers(stack.folder, 0.5)
    assert stack.survivors() == []


def test_a_process_without_its_pid_file_is_found_through_its_supervisor(stack: SmallStack) -> None:
    stack.start_ready("orderly")
    stack.process.kill()
    stack.process.wait()
    pidfiles.path_for(stack.folder, "second").unlink()
    supervisor.stop_leftovers(stack.folder, 0.5)
    assert stack.survivors() == []


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("broken job", "Could not do between: between exited with status 7."),
        ("slow job", "Could not do between: between took more than 0 s."),
        ("crashing", "broken does not start: exited with status 3, 3 times."),
        ("missing", "absent does not start: could not be started (/no/such/program cannot be started"),
    ],
)
def test_what_cannot_start_stops_the_stack_with_a_reason(stack: SmallStack, scenario: str, reason: str) -> None:
    stack.start(scenario)
    assert stack.process.wait(PATIENCE_S) == 1
    status = supervisor.read_status(stack.folder)
    assert status is not None
    assert status.phase is Phase.FAILED
    assert status.doing.startswith(reason)
    assert stack.survivors() == []


def test_a_secret_that_a_process_prints_is_not_logged(stack: SmallStack) -> None:
    stack.start_ready("orderly", SMALL_STACK_SECRET="hello from second")
    wait_for(lambda: "second     ***" in stack.log)
    assert "hello from second" not in stack.log
