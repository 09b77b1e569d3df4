"""A gateway of the real agent and tiny workers, as its own processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.controlplane.gateway.agent.control_stand_in import TOKEN, ControlStandIn


def eventually(condition: Callable[[], Any], within_s: float = 10.0) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {within_s} s: {condition}")


class RunningGateway:
    """One run of the gateway and what it said."""

    def __init__(self, environment: dict[str, str], module: str) -> None:
        self.logs: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_logs, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_logs(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            self.logs.extend(json.loads(line) for line in lines)

    def _read_errors(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            self.errors.extend(lines)

    def logged(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.logs if line["message"] == message]

    def wait_for_start(self) -> RunningGateway:
        eventually(lambda: self.logged("The gateway starts.") or self.process.poll() is not None)
        assert self.process.poll() is None, [*self.logs, {"stderr": self.errors}]
        return self

    def wait_until_ready(self) -> RunningGateway:
        self.wait_for_start()
        eventually(lambda: self.status("/ready")[0] == 200 and self.status("/ready")[1]["workers"]["ready"] == 2)
        return self

    @property
    def ports(self) -> dict[str, int]:
        return {name: value for name, value in self.logged("The gateway starts.")[0].items() if "port" in name}

    def ask(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http_port']}/", timeout=5) as answer:
            return dict(json.load(answer))

    def status(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics_port']}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.ports['metrics_port']}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        (line,) = (line for line in self.metrics().splitlines() if line.startswith(name + " "))
        return float(line.rpartition(" ")[2])

    def all_workers_at(self, revision: int) -> bool:
        return {answer["revision"] for answer in (self.ask() for _ in range(6))} == {revision}

    def worker_processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(15)
        for reader in self._readers:
            reader.join(15)  # the pipe ends when the last worker has exited
        return status


StartGateway = Callable[..., RunningGateway]


@pytest.fixture
def control() -> Iterator[ControlStandIn]:
    control = ControlStandIn()
    control.set_key("first")
    control.start()
    yield control
    control.stop()


@pytest.fixture
def gateway_environment(tmp_path: Path, control: ControlStandIn) -> dict[str, str]:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "gateway_token").write_text(TOKEN)
    (secrets / "snapshot_public.pem").write_bytes(control.public_pem)
    return {
        "GATEWAY_NAME": "gateway-1",
        "GATEWAY_CONTROL_URL": control.url,
        "GATEWAY_STATE_DIR": str(tmp_path / "state"),
        "GATEWAY_SECRETS_DIR": str(secrets),
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_HTTP_PORT": "0",
        "GATEWAY_GRPC_PORT": "0",
        "GATEWAY_METRICS_PORT": "0",
        "GATEWAY_WORKERS": "2",
        "GATEWAY_DRAIN_S": "2",
    }


@pytest.fixture
def start_gateway(gateway_environment: dict[str, str]) -> Iterator[StartGateway]:
    """Starts gateways on the same state folder; ends what is left of them."""
    started: list[RunningGateway] = []

    def start(module: str = "tests.controlplane.gateway.agent.tiny_gateway", **changes: str) -> RunningGateway:
        started.append(RunningGateway({**gateway_environment, **changes}, module))
        return started[-1]

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.end(signal.SIGKILL)
