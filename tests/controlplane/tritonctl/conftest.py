from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.web import Web, web

__all__ = ["home", "tritonctl", "web"]

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Outcome:
    """What a run of `tritonctl` left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The machine's answer; there must be nothing beside it."""
        assert self.status == 0, self.stderr
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """The machine's error; there must be nothing beside it."""
        assert self.status == 1
        body: dict[str, dict[str, Any]] = json.loads(self.stderr)
        assert set(body["error"]) == {"code", "message", "details"}
        return body["error"]


Tritonctl = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of one's own: no profile, no stack."""
    return tmp_path


@pytest.fixture
def tritonctl(home: Path, web: Web) -> Tritonctl:
    """Runs the real program against the real web process; `environment` replaces its CONTROL_URL and ADMIN_TOKEN."""
    usual = {"CONTROL_URL": web.url, "ADMIN_TOKEN": web.admin_token}

    def run(*arguments: str, environment: dict[str, str] | None = None) -> Outcome:
        base = {"PATH": os.environ["PATH"], "HOME": str(home), "CONTROLPLANE_STATE_DIR": str(home / "var")}
        done = subprocess.run(
            [sys.executable, "-m", "controlplane.tritonctl", *arguments],
            cwd=ROOT,
            env=base | (usual if environment is None else environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        assert web.admin_token not in done.stdout + done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run
