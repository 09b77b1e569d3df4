"""Workers that are killed in the middle of an import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import scaling_graph
from tests.support.web import ROOT, Web, running_web

MIB = 1024 * 1024
PATIENCE_S = 30.0
RUN = "from controlplane.registry.import_jobs import run_import; run_import({})"
FALL_SILENT = """
from datetime import timedelta
from django.utils import timezone
from controlplane.registry.models import VersionImport
VersionImport.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder to import from, with a version large enough to be killed in."""
    folder = tmp_path / "models" / "digits"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(scaling_graph())
    with (folder / "a-weights.bin").open("wb") as weights:
        for _ in range(512):
            weights.write(os.urandom(MIB))
    return folder.parent


@pytest.fixture
def own_web(tmp_path: Path, models: Path) -> Iterator[Web]:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    with running_web(state_dir, CONTROLPLANE_IMPORT_PATHS=str(models)) as process:
        yield process


def shell(web: Web, code: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "--command", code]
    return subprocess.Popen(command, cwd=ROOT, env=web.environment)


def import_of(web: Web, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = web.call("GET", f"/api/imports/{job['id']}").json()
    return found


@pytest.mark.parametrize("step", ["copying the files", "inspecting the files"])
def test_a_killed_import_is_done_again_from_its_beginning(own_web: Web, models: Path, step: str) -> None:
    own_web.call("POST", "/api/models", json={"slug": "digits", "title": "Digits"})
    body = {"semver": "1.0.0", "path": str(models / "digits")}
    job = own_web.call("POST", "/api/models/digits/versions", json=body).json()
    with shell(own_web, RUN.format(job["id"])) as worker:
        deadline = time.monotonic() + PATIENCE_S
        while import_of(own_web, job)["message"] != step:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        worker.kill()
    assert import_of(own_web, job)["state"] == "running"
    shell(own_web, FALL_SILENT).wait()

    own_web.run_import(job["id"])

    done = import_of(own_web, job)
    assert (done["state"], done["attempt"], done["error"]) == ("succeeded", 2, "")
    versions = own_web.call("GET", "/api/models/digits/versions").json()["results"]
    assert [version["state"] for version in versions] == ["validated"]
    # A number that a draft had is not given to another one.
    assert versions[0]["number"] == (2 if step == "inspecting the files" else 1)
