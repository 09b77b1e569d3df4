"""Workers and Tritons killed at every step of a publication, a retirement and a restoration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.fleet.domain import PLANS, PublicationKind, PublicationStep
from controlplane.secret_files import init_secrets
from deploy.embedded import triton as embedded
from tests.support.models import infer_body
from tests.support.triton import TritonServer, running_triton, wait_until

ROOT = Path(__file__).resolve().parents[3]
STOP_TIMEOUT_S = 20

REGISTER = """
from controlplane.audit.domain import system_actor
from controlplane.fleet.services import register_pool, register_server
actor = system_actor("tests")
pool = register_pool(actor, slug="default", title="Default", repository={repository!r})
register_server(actor, pool=pool, name="local", http_address={http!r}, grpc_address={grpc!r}, control_secret="control")
"""
STEPS = [(kind, step) for kind, plan in PLANS.items() for step in plan]


@dataclass
class Plant:
    """A control plane in a folder: a database, a controller, one Triton, and the process that has workers killed."""

    triton: TritonServer
    driver: subprocess.Popen[str]
    log: Path
    cases: int = 0

    def play(self, do: str, kind: PublicationKind = PublicationKind.PUBLISH, **case: Any) -> dict[str, Any]:
        self.cases += 1
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        order = {"do": do, "kind": kind, "slug": f"{kind}-{self.cases}", **case}
        self.driver.stdin.write(json.dumps(order) + "\n")
        self.driver.stdin.flush()
        answer = self.driver.stdout.readline()
        assert answer, self.log.read_text()[-4000:]
        result: dict[str, Any] = json.loads(answer)
        return result

    def answers(self, triton_name: str) -> bool:
        url = f"{self.triton.http_url}/v2/models/{triton_name}/versions/1/infer"
        return httpx.post(url, json=infer_body(), trust_env=False).is_success

    def in_repository(self, triton_name: str) -> bool:
        return (self.triton.repository / triton_name).exists()


def environment_of(state_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTROLPLANE_")}
    kept.pop("TEST_DATABASE_URL", None)
    return kept | {
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "CONTROLPLANE_STATE_DIR": str(state_dir),
        "CONTROLPLANE_REDIS_URL": f"unix://{state_dir}/no-redis.sock",
        "CONTROLPLANE_LOG_LEVEL": "WARNING",
    }


def manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def plant(triton_environment: embedded.TritonEnvironment, triton_backends: Path) -> Iterator[Plant]:
    with tempfile.TemporaryDirectory(prefix="plant-") as name:
        folder = Path(name)
        with running_triton(triton_environment, triton_backends, folder / "triton") as triton:
            state_dir = folder / "state"
            environment = environment_of(state_dir)
            init_secrets(state_dir / "secrets")
            (state_dir / "secrets" / "control").write_text(triton.control_secret)
            manage(environment, "migrate", "--verbosity=0")
            addresses = {"http": triton.http_address, "grpc": triton.grpc_url, "repository": str(triton.repository)}
            manage(environment, "shell", "--verbosity=0", "--command", REGISTER.format(**addresses))
            log = folder / "log"
            with log.open("a") as output:
                options: dict[str, Any] = {"cwd": ROOT, "env": environment, "stderr": output}
                controller = subprocess.Popen([sys.executable, "manage.py", "run_controller"], stdout=output, **options)
                driver = subprocess.Popen(
                    [sys.executable, "-m", "tests.controlplane.fleet.crash_driver"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    **options,
                )
            try:
                yield Plant(triton, driver, log)
            finally:
                assert driver.stdin is not None
                driver.stdin.close()
                controller.send_signal(signal.SIGTERM)
                for process in (driver, controller):
                    process.wait(STOP_TIMEOUT_S)
                assert driver.stdout is not None
                driver.stdout.close()


# Before a step is nearly after the one before it; that nearly is worth a look, but not in every run.
@pytest.mark.parametrize("when", ["after", pytest.param("before", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "step"), STEPS)
def test_another_worker_finishes_what_a_killed_one_left(
    plant: Plant, kind: PublicationKind, step: PublicationStep, when: str
) -> None:
    outcome = plant.play("finish", kind, step=step, when=when)

    assert (outcome["state"], outcome["error"]) == ("succeeded", "")
    serves = kind != PublicationKind.RETIRE
    assert outcome["version"] == ("published" if serves else "retired")
    assert outcome["routed"] is serves
    assert plant.in_repository(outcome["triton_name"]) is serves
    assert plant.answers(outcome["triton_name"]) is serves


@pytest.mark.parametrize("step", [PublicationStep.LOAD, PublicationStep.READY, PublicationStep.GOLDEN])
@pytest.mark.parametrize("kind", [PublicationKind.PUBLISH, PublicationKind.RESTORE])
def test_a_triton_killed_in_between_fails_the_publication_cleanly_and_it_can_be_retried(
    plant: Plant, kind: PublicationKind, step: PublicationStep
) -> None:
    outcome = plant.play("kill_server", kind, step=step, pid=plant.triton.pid)

    assert outcome["state"] == "failed"
    assert outcome["error"]
    assert not outcome["routed"]
    assert not plant.in_repository(outcome["triton_name"]), "a Triton that restarts must not find it"
    plant.triton.restart()
    again = plant.play("retry", id=outcome["id"])
    assert (again["state"], again["version"], again["error"]) == ("succeeded", "published", "")
    assert plant.answers(outcome["triton_name"])


def test_a_triton_that_starts_on_what_crashes_left_serves_all_that_is_whole(plant: Plant) -> None:
    served = plant.play("finish")["triton_name"]
    for kind, step in STEPS:
        plant.play("abandon", kind, step=step, when="after")
    broken, half = plant.triton.repository / "broken.v1", plant.triton.repository / "half.v1"
    for folder in (broken, half):
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.onnx").write_bytes(b"not all of a graph")
    (broken / "config.pbtxt").write_text('name: "broken.v1" backend: "onnxruntime" max_batch_size: 0')
    whole = [path.name for path in plant.triton.repository.iterdir() if path not in {broken, half}]

    plant.triton.restart()

    assert served in whole
    for name in whole:
        wait_until(lambda name=name: plant.answers(name), what=f"{name} answers", timeout_s=30)  # type: ignore[misc]
    assert not plant.answers("broken.v1")
    assert plant.play("finish")["state"] == "succeeded", "and new versions can be published"
