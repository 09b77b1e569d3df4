"""The child process of `inspect_untrusted`: `python -m model_repository_tools.inspection.child PATH LIMITS...`.

Prints the inspection as JSON. Exit status: 0 done, 3 out of memory, 4 the file cannot be read,
5 the report is too large.
"""

import json
import mmap
import os
import resource
import sys
from pathlib import Path

from model_repository_tools.inspection.onnx import inspect_onnx

OUT_OF_MEMORY = 3
UNREADABLE = 4
REPORT_TOO_LARGE = 5


def main(arguments: list[str]) -> int:
    """Limit this process for good, then inspect."""
    path = Path(arguments[0])
    memory_bytes, cpu_s, file_bytes, report_bytes = map(int, arguments[1:])
    try:
        mapped_bytes = min(path.stat().st_size, file_bytes)
        _limit(_address_space_bytes() + memory_bytes + mapped_bytes, cpu_s, report_bytes)
        report = json.dumps(inspect_onnx(path, max_size_bytes=file_bytes).to_dict()).encode()
    except MemoryError:
        return OUT_OF_MEMORY
    except OSError:
        return UNREADABLE
    if len(report) > report_bytes:
        return REPORT_TOO_LARGE
    sys.stdout.buffer.write(report)
    sys.stdout.buffer.flush()
    return 0


def _limit(address_space_bytes: int, cpu_s: int, report_bytes: int) -> None:
    # One second between soft and hard: SIGXCPU tells the parent why.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (report_bytes, report_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _address_space_bytes() -> int:
    """Return what this process has mapped already: the interpreter and its libraries."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * mmap.PAGESIZE


if __name__ == "__main__":
    # No clean-up: destructors of a process at its memory limit may only do harm.
    os._exit(main(sys.argv[1:]))
