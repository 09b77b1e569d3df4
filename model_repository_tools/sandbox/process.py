"""The parent's side: start the child, watch its limits, say in words how it ended."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from model_repository_tools.sandbox.isolation import Network

_CHILD = "model_repository_tools.sandbox.child"
_ENDINGS = {
    None: ("timed_out", "took too long to read"),
    -signal.SIGXCPU: ("cpu_limit", "needs more processor time to read than is allowed"),
    -signal.SIGKILL: ("killed", "could not be read: the inspection was killed, most likely for its memory"),
    3: ("out_of_memory", "needs more memory to read than is allowed"),
    4: ("unreadable", "cannot be read"),
    5: ("report_too_large", "has more inputs, operators or faults than a report may list"),
}
_CRASHED = ("crashed", "makes its reader crash")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one look at a hostile file may use.

    Attributes:
        memory_bytes: Address space beyond what the interpreter itself needs. The mapped file is not counted.
        cpu_s: Processor time.
        wall_s: Time on the clock, the start of the interpreter included.
        file_bytes: A larger model file is not opened.
        report_bytes: Size of the answer.
    """

    memory_bytes: int = 1 << 30
    cpu_s: int = 30
    wall_s: float = 60.0
    file_bytes: int = 2 << 30
    report_bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the child ended.

    Attributes:
        answer: What the task returned; None if it did not.
        failure: A short name for why not, for programs: `timed_out`, `cpu_limit`, or the code of the task's refusal.
        reason: The same for people, to be read after the file's name; or the task's own words.
        network: What the child could reach.
    """

    answer: Any = None
    failure: str = ""
    reason: str = ""
    network: Network = Network.SHARED


def run_limited(task: str, request: Mapping[str, Any], limits: Limits, *, mapped_bytes: int = 0) -> Outcome:
    """Call a function in a child process; the caller is safe from what that does.

    The child gets no secrets (an empty environment), can write no file but its report, has no network where the kernel
    lets us take it away (`Outcome.network`), is killed at its limits, and dies with its parent.

    Args:
        task: `package.module:function`, one of ours. It is called with the request as keywords.
        request: JSON, like the answer.
        limits: What the child may use.
        mapped_bytes: Address space on top of the limit, for a file that is mapped.
    """
    with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as report:
        question.write(json.dumps(request).encode())
        question.seek(0)
        status = _run(task, limits, mapped_bytes, question, report)
        report.seek(0)
        text = report.read(limits.report_bytes + 1)
    if status != 0:
        return Outcome(None, *_ENDINGS.get(status, _CRASHED))
    try:
        return _read(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Outcome(None, *_CRASHED)


def _read(report: Mapping[str, Any]) -> Outcome:
    network = Network(report["network"])
    if refusal := report.get("refusal"):
        return Outcome(None, str(refusal["code"]), str(refusal["message"]), network)
    return Outcome(report["answer"], network=network)


def _run(task: str, limits: Limits, mapped_bytes: int, question: IO[bytes], report: IO[bytes]) -> int | None:
    """Run the child and return its exit status, None if it ran out of time."""
    numbers = (limits.memory_bytes, limits.cpu_s, mapped_bytes, limits.report_bytes)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", _CHILD, task, *map(str, numbers)],
        stdin=question,
        stdout=report,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # The same packages as here, wherever they come from, and nothing else of our environment.
        env={"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        return child.wait(limits.wall_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
