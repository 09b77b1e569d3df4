"""The first minutes of a new user: a clone, `make up`, a prediction, `make down`, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.embedded import logs, pidfiles, triton
from deploy.embedded.layout import PROJECT_DIR, Ports
from tests.support.services import free_port

FIRST_PREDICTION_S = 180.0
ALL_ENVIRONMENTS_BYTES = 1_700_000_000
SECRET_OF_THE_SHELL = "a-secret-of-the-callers-shell"


class Clone:
    """A copy of the tree as git would give it, on ports of its own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        ports = {port.variable: str(free_port()) for port in Ports.from_environment({}).all()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONTROLPLANE_", "GATEWAY_"))}
        self.environment = {**kept, **ports, **variables, "AWS_SECRET_ACCESS_KEY": SECRET_OF_THE_SHELL}
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.check_output(listing, cwd=PROJECT_DIR, text=True).split("\0"):
            if name and (PROJECT_DIR / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT_DIR / name, folder / name)

    @property
    def state_dir(self) -> Path:
        return self.folder / "var"

    @property
    def quickstart(self) -> dict[str, str]:
        return logs.read_env_file(self.state_dir / "quickstart.env")

    def make(self, *arguments: str) -> str:
        """Runs make and returns what it printed."""
        command = ["make", "--no-print-directory", *arguments]
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-4000:]}\n{result.stderr[-12000:]}"
        return result.stdout

    def processes(self) -> list[psutil.Process]:
        """Every living process that this stack started: its parts carry the state folder or run in the copy."""
        records = pidfiles.read_all(self.state_dir / "run")
        pids = {pid for record in records for pid in record.members()}
        for process in psutil.process_iter(["cmdline", "status"]):
            if any(str(self.folder) in part for part in process.info["cmdline"] or []):
                pids.add(process.pid)
        return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]

    def shared_memory(self) -> list[Path]:
        return triton.shared_memory_regions(triton.shared_memory_prefix(self.state_dir))


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's: a deep path would move Redis' socket, and what is tested here is the ordinary case.
    with tempfile.TemporaryDirectory(prefix="clone-") as name:
        yield Path(name)


@pytest.fixture
def clone(folder: Path, triton_environment: triton.TritonEnvironment) -> Iterator[Clone]:
    """A clone that uses the environments of the tests: making its own is the long form of this story."""
    cloned = Clone(folder, UP_VENV=sys.prefix, UP_TRITON_ENV=str(triton_environment.venv))
    yield cloned
    cloned.make("down")


def printed_curl(output: str) -> str:
    """The curl command among what `make up` printed."""
    found = re.search(r"^curl .*$", output, re.MULTILINE)
    assert found is not None, f"`make up` printed no curl command:\n{output}"
    return found.group()


def predict(clone: Clone, output: str) -> dict[str, object]:
    """Sends the printed request, the way a person pastes it, and returns the answer."""
    pasted = subprocess.run(
        ["bash", "-c", printed_curl(output)], capture_output=True, text=True, check=True, cwd=clone.folder
    )
    answer = json.loads(pasted.stdout)
    assert isinstance(answer, dict)
    return answer


def status_of(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a URL of our own
        return int(answer.status)


@pytest.mark.timeout(400)
def test_from_a_clone_to_a_prediction_and_back_to_nothing(clone: Clone) -> None:
    printed = clone.make("up", "DETACH=1")
    known = clone.quickstart
    assert set(known) == {
        *("GATEWAY_URL", "GATEWAY_GRPC", "CONTROL_URL", "TRITON_URL"),
        *("ADMIN_USER", "ADMIN_PASSWORD", "API_KEY", "ADMIN_TOKEN"),
    }
    assert known["ADMIN_PASSWORD"] in printed
    assert known["API_KEY"] in printed

    answer = predict(clone, printed)
    assert answer["model_name"] == "digits", answer
    assert status_of(f"{known['CONTROL_URL']}/ready") == 200
    names = ("redis", "triton", "web", "controller", "worker", "beat", "gateway")
    table = clone.make("status")
    assert all(re.search(rf"^{name} +\d+  ready ", table, re.MULTILINE) for name in names), table

    # Nobody but the owner can look, and neither the log nor a process shows what they must not.
    assert (clone.state_dir / "quickstart.env").stat().st_mode & 0o777 == 0o600
    assert clone.state_dir.stat().st_mode & 0o777 == 0o700
    log = (clone.state_dir / "logs" / "stack.log").read_text()
    for secret in (known["ADMIN_PASSWORD"], known["API_KEY"], known["ADMIN_TOKEN"]):
        assert secret not in log
    environments = [process.environ() for process in clone.processes()]
    assert not any(SECRET_OF_THE_SHELL in variables.values() for variables in environments)

    # Again: the same stack, the same credentials.
    again = clone.make("up", "DETACH=1")
    assert "already running" in again
    assert known["CONTROL_URL"] in again
    assert clone.quickstart == known

    clone.make("down")
    assert clone.processes() == []
    assert clone.shared_memory() == []

    # Anew on the old state: what was published is served again. Then the supervisor is killed without a word.
    printed = clone.make("up", "DETACH=1")
    assert clone.quickstart == known
    record = pidfiles.read(clone.state_dir / "run" / "supervisor.pid")
    assert record is not None
    os.kill(record.identity.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(record.identity.pid)] if record.leader_is_alive() else [], timeout=10)
    assert predict(clone, printed)["model_name"] == "digits"
    clone.make("down")
    assert clone.processes() == []
    assert clone.shared_memory() == []
    clone.make("reset", "FORCE=1")
    assert not (clone.state_dir / "quickstart.env").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fresh_machine_predicts_within_three_minutes_beside_the_download(folder: Path) -> None:
    fetched = Clone(folder)
    # Fills the installer's package cache and nothing else: the figure leaves out what the network takes.
    fetched.make("venv", "triton-env")
    shutil.rmtree(folder)
    folder.mkdir()
    fresh = Clone(folder)
    try:
        began = time.monotonic()
        predict(fresh, fresh.make("up", "DETACH=1"))
        assert time.monotonic() - began < FIRST_PREDICTION_S
        assert size_of(folder / ".venv", fresh.state_dir / "triton-env", fresh.state_dir / "tools") < (
            ALL_ENVIRONMENTS_BYTES
        )
        assert (folder / ".venv" / "bin" / "tritonctl").exists()
    finally:
        fresh.make("down")


def size_of(*folders: Path) -> int:
    """What the files of some folders take on disk."""
    printed = subprocess.check_output(["du", "--summarize", "--block-size=1", "--total", *folders], text=True)
    return int(printed.splitlines()[-1].split()[0])
