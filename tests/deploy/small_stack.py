"""A stack of tiny real processes for the supervisor's tests: ``python -m tests.deploy.small_stack FOLDER SCENARIO``."""

import asyncio
import os
import sys
from pathlib import Path

from deploy.embedded.logs import StackLog
from deploy.embedded.plan import Job, Launch, ProcessSpec, Stage
from deploy.embedded.supervisor import Supervisor

WRITE_DOWN_THE_STOP = """
import signal, sys, time
def stop(*_):
    with open(sys.argv[1] + "/stopped", "a") as file: file.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("hello from", sys.argv[2], flush=True)
while True: time.sleep(60)
"""
# A parent, a child in its group and a child that left for a session of its own; none of them heeds SIGTERM.
STUBBORN_FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 3:
    subprocess.Popen([*sys.orig_argv, "child"])
    subprocess.Popen([*sys.orig_argv, "child"], start_new_session=True)
while True: time.sleep(60)
"""


def process(folder: Path, name: str, code: str = WRITE_DOWN_THE_STOP, **options: float) -> ProcessSpec:
    launch = Launch([sys.executable, "-c", code, str(folder), name], dict(os.environ), folder)
    return ProcessSpec(name, lambda: launch, settle_s=0.3, **options)  # type: ignore[arg-type]


def job(folder: Path, name: str, code: str, timeout_s: float = 30.0) -> Job:
    return Job(name, lambda: Launch([sys.executable, "-c", code], dict(os.environ), folder), f"do {name}", timeout_s)


def stages(folder: Path, scenario: str) -> tuple[Stage, ...]:
    first = (process(folder, "first"),)
    match scenario:
        case "orderly":
            return first, (job(folder, "between", "print('in between')"),), (process(folder, "second"),)
        case "stubborn":
            return first, (process(folder, "family", STUBBORN_FAMILY, stop_timeout_s=0.3),)
        case "broken job":
            return first, (job(folder, "between", "raise SystemExit(7)"),), (process(folder, "second"),)
        case "slow job":
            return first, (job(folder, "between", "import time; time.sleep(60)", timeout_s=0.3),)
        case "crashing":
            return first, (process(folder, "broken", "print('no such thing'); raise SystemExit(3)"),)
        case "missing":
            return ((ProcessSpec("absent", lambda: Launch(["/no/such/program"], {}, folder)),),)
        case _:
            raise SystemExit(f"no scenario {scenario}")


def main(folder: Path, scenario: str) -> int:
    log = StackLog(folder / "stack.log")
    log.hide([os.environ.get("SMALL_STACK_SECRET", "")])
    supervised = Supervisor(stages(folder, scenario), folder, log)
    return 0 if asyncio.run(supervised.run(lambda: None)) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
