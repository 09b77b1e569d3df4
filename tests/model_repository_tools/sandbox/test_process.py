import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from model_repository_tools.sandbox import Limits, Network, Outcome, run_limited

SMALL = Limits(memory_bytes=256 << 20, cpu_s=5, wall_s=20, report_bytes=1 << 20)


def run(task: str, limits: Limits = SMALL, **request: Any) -> Outcome:
    return run_limited(f"tests.model_repository_tools.sandbox.tasks:{task}", request, limits)


def test_an_answer_comes_back() -> None:
    outcome = run("echo", text="grüße", numbers=[1, 2])
    assert (outcome.answer, outcome.failure) == ({"text": "grüße", "numbers": [1, 2]}, "")


def test_the_child_says_truly_whether_it_could_reach_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = run("connect", port=server.getsockname()[1])
    assert (outcome.network is Network.SHARED) == (outcome.answer == "connected")


def test_where_the_kernel_allows_it_there_is_no_network() -> None:
    allowed = subprocess.run(["unshare", "--user", "--net", "true"], check=False).returncode == 0
    assert (run("echo").network is Network.UNREACHABLE) == allowed


def test_the_child_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    assert set(run("environment").answer) <= {"PYTHONPATH", "OPENBLAS_NUM_THREADS", "LC_CTYPE"}


def test_a_refusal_comes_back_in_the_tasks_own_words() -> None:
    outcome = run("refuse")
    assert (outcome.answer, outcome.failure, outcome.reason) == (None, "model.invalid", "no model at all")


def test_a_crash_is_a_failure_not_ours() -> None:
    assert run("crash").failure == "crashed"
    assert run("no_such_task").failure == "crashed"


def test_the_child_can_write_no_large_file(tmp_path: Path) -> None:
    outcome = run("write", path=str(tmp_path / "large"))
    assert outcome.answer is None
    assert outcome.failure
    assert (tmp_path / "large").stat().st_size <= SMALL.report_bytes


def test_a_child_that_waits_is_killed() -> None:
    begin = time.monotonic()
    assert run("sleep", Limits(wall_s=1.5)).failure == "timed_out"
    assert time.monotonic() - begin < 10


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if value := condition():
            return value
        os.sched_yield()
    raise AssertionError("it never happened")


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "from model_repository_tools.sandbox import Limits, run_limited;"
        f"run_limited('tests.model_repository_tools.sandbox.tasks:own_pid', {{'path': {str(tmp_path / 'pid')!r}}},"
        " Limits())"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    pid = int(wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    child = psutil.Process(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
