"""Inspection of files from strangers, in a child process with limits."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from model_repository_tools.findings import Finding
from model_repository_tools.inspection.result import OnnxInspection

_CHILD = "model_repository_tools.inspection.child"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one inspection may use.

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


def inspect_untrusted(path: Path, limits: Limits | None = None) -> OnnxInspection:
    """Inspect an ONNX file that may be hostile; the caller is safe from what reading it does.

    The child gets no secrets (an empty environment), can write no file but its report, and is killed at its limits.
    Whatever happens comes back as findings; nothing is raised for a bad file, and no stack trace comes back.

    Args:
        path: The .onnx file; external files are looked for beside it.
        limits: Default: enough for any real model.
    """
    limits = limits or Limits()
    with tempfile.TemporaryFile() as report:
        status = _run(path.absolute(), limits, report)
        report.seek(0)
        text = report.read(limits.report_bytes + 1)
    if status == 0:
        try:
            return OnnxInspection.from_dict(json.loads(text))
        except (ValueError, KeyError, TypeError, RecursionError):
            status = None
    size_bytes = path.stat().st_size if path.is_file() else 0
    return OnnxInspection(size_bytes, findings=(_failure(status, path.name),))


def _run(path: Path, limits: Limits, report: IO[bytes]) -> int | None:
    """Run the child and return its exit status, None if it ran out of time."""
    numbers = (limits.memory_bytes, limits.cpu_s, limits.file_bytes, limits.report_bytes)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", _CHILD, os.fspath(path), *map(str, numbers)],
        stdin=subprocess.DEVNULL,
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


def _failure(status: int | None, name: str) -> Finding:
    reasons = {
        None: ("timed_out", "took too long to read"),
        -signal.SIGXCPU: ("cpu_limit", "needs more processor time to read than is allowed"),
        -signal.SIGKILL: ("killed", "could not be read: the inspection was killed, most likely for its memory"),
        3: ("out_of_memory", "needs more memory to read than is allowed"),
        4: ("unreadable", "cannot be read"),
        5: ("report_too_large", "has more inputs, operators or faults than a report may list"),
    }
    kind, problem = reasons.get(status, ("crashed", "makes its reader crash"))
    return Finding(
        f"inspection.{kind}", name, f"{name} {problem}", "check that the file is a model, and export it again"
    )
