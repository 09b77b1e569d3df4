"""Runs one step on a repository and kills itself (SIGKILL) right before its n-th change to the disk.

python crash_steps.py FOLDER STEP N; exit status 0: the step finished with fewer than N changes.
"""

import os
import signal
import sys
from pathlib import Path

from model_repository_tools.repository import FolderRepository

CONFIG = 'name: "m.v1"'
CHANGES = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.chmod"}


def run_step(folder: Path, step: str) -> None:
    repository = FolderRepository(folder / "models")
    if step == "publish":
        files = {"model.onnx": folder / "store" / "model", "weights/w.bin": folder / "store" / "weights"}
        staged = repository.stage("p1", "m.v1", 1, files=files, config_text=CONFIG, warm_up={"golden-0": b"warm"})
        repository.commit(staged)
    elif step == "commit":
        found = repository.find_stage("p1")
        if found is not None:
            repository.commit(found)
    elif step == "retire":
        repository.retire("m.v1")
    elif step == "restore":
        repository.restore("m.v1")
    elif step == "reap":
        repository.reap_stages()


def kill_before_change(number: int) -> None:
    """Count changes by Python's audit events, so that the code under test needs no hook of its own."""
    seen = 0

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_CREAT)
        if writes or event in CHANGES:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)


if __name__ == "__main__":
    kill_before_change(int(sys.argv[3]))
    run_step(Path(sys.argv[1]), sys.argv[2])
