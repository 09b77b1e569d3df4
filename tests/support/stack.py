"""The whole embedded stack, started once for the tests that tell a user's story.

It is what `make up` starts, on free ports and with a state folder of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.quickstart.environment import read_environment
from tests.support.services import free_port

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 120
PORTS = ("HTTP", "GRPC", "METRICS", "WEB", "TRITON_HTTP", "TRITON_GRPC", "TRITON_METRICS")


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        state_dir: its ``var/``.
        environment: what `deploy.embedded` was started with.
        values: its ``quickstart.env``.
    """

    state_dir: Path
    environment: dict[str, str]
    values: dict[str, str]

    def control(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call of the control REST API with the admin's token."""
        headers = {"Authorization": f"Bearer {self.values['ADMIN_TOKEN']}"}
        return httpx.request(method, self.values["CONTROL_URL"] + path, headers=headers, timeout=30, **options)

    def infer(self, model: str, body: Any, *, key: str | None = None) -> httpx.Response:
        """An inference request over HTTP, with the quickstart's key unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.values['API_KEY']}"}
        url = f"{self.values['GATEWAY_URL']}/v2/models/{model}/infer"
        return httpx.post(url, json=body, headers=headers, timeout=30)

    def tritonctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line tool, as a user runs it."""
        settings = {name: self.values[name] for name in ("CONTROL_URL", "ADMIN_TOKEN")}
        return subprocess.run(
            [sys.executable, "-m", "controlplane.tritonctl", *arguments],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    def log(self) -> str:
        """Everything the stack's processes wrote."""
        return "".join(path.read_text() for path in sorted((self.state_dir / "logs").glob("*.log*")))


def deploy(environment: dict[str, str], *arguments: str, timeout_s: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.embedded", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


@contextmanager
def running_stack(state_dir: Path) -> Iterator[Stack]:
    """A healthy stack with the demo in it, stopped at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTROLPLANE_")}
    environment |= {f"UP_{name}_PORT": str(free_port()) for name in PORTS}
    environment |= {
        "UP_STATE_DIR": str(state_dir),
        "UP_VENV": sys.prefix,
        "UP_TRITON_ENV": os.environ.get("TRITON_ENV", str(ROOT / "var" / "triton-env")),
    }
    try:
        started = deploy(environment, "up", "--detach", timeout_s=START_TIMEOUT_S)
        if started.returncode != 0:
            pytest.fail(f"the stack did not start:\n{started.stdout[-4000:]}\n{started.stderr[-4000:]}")
        yield Stack(state_dir, environment, read_environment(state_dir / "quickstart.env"))
    finally:
        deploy(environment, "down", timeout_s=STOP_TIMEOUT_S)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack that the tests of a session share: give models and keys names of their own."""
    with tempfile.TemporaryDirectory(prefix="cp-stack-") as folder, running_stack(Path(folder) / "var") as running:
        yield running
