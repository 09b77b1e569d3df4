"""The child process of `run_limited`: `python -m model_repository_tools.sandbox.child TASK LIMITS...`.

Reads the request from stdin and prints the report, both JSON. Exit status: 0 done, 3 out of memory, 4 a file cannot be
read, 5 the report is too large.
"""

import importlib
import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_repository_tools.errors import ModelRepositoryError
from model_repository_tools.sandbox.isolation import die_with_parent, leave_network, limit_resources

OUT_OF_MEMORY = 3
UNREADABLE = 4
REPORT_TOO_LARGE = 5


def main(arguments: list[str]) -> int:
    """Give up what can be given up, then run the task."""
    die_with_parent()
    network = leave_network()
    memory_bytes, cpu_s, mapped_bytes, report_bytes = map(int, arguments[1:])
    try:
        task = _find_task(arguments[0])
        limit_resources(_address_space_bytes() + memory_bytes + mapped_bytes, cpu_s, report_bytes)
        report = json.dumps({"network": network.value, **_run(task)}).encode()
    except MemoryError:
        return OUT_OF_MEMORY
    except OSError:
        return UNREADABLE
    if len(report) > report_bytes:
        return REPORT_TOO_LARGE
    sys.stdout.buffer.write(report)
    sys.stdout.buffer.flush()
    return 0


def _find_task(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    task: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return task


def _run(task: Callable[..., Any]) -> dict[str, Any]:
    try:
        return {"answer": task(**json.load(sys.stdin))}
    except ModelRepositoryError as error:
        return {"refusal": {"code": error.code, "message": str(error)}}


def _address_space_bytes() -> int:
    """Return what this process has mapped already: the interpreter and its libraries."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * mmap.PAGESIZE


if __name__ == "__main__":
    # No clean-up: destructors of a process at its memory limit may only do harm.
    os._exit(main(sys.argv[1:]))
