"""A real Triton for tests: started on free ports, with a repository of its own, and gone without a trace afterwards.

Tests use the shared `triton` or, where they stop, kill or configure a server, `start_triton(...)`.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from deploy.embedded import triton as embedded

_REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.02
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0
_LOAD_TIMEOUT_S = 30.0
_PORT_TRIES = 3


class ControlError(Exception):
    """The control API refused; `status` is the HTTP status, the text Triton's own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float) -> None:
    """Polls a condition and fails with `what` when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(_POLL_S)


class TritonServer:
    """One server process with its folder: repository, home and log."""

    def __init__(
        self, environment: embedded.TritonEnvironment, backends: Path, directory: Path, **options: Any
    ) -> None:
        self.repository = directory / "repository"
        self.home = directory / "home"
        self.control_secret = secrets.token_urlsafe(24)
        self.memory_prefix = embedded.shared_memory_prefix(directory)
        self._log_path = directory / "triton.log"
        self._environment = environment
        self._backends = backends
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = _free_ports()
        # Triton waits for idle connections when it is asked to stop, so none is kept.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(timeout=_LOAD_TIMEOUT_S, limits=limits, trust_env=False)
        self.repository.mkdir(parents=True)
        self.home.mkdir(mode=0o700)

    @property
    def http_url(self) -> str:
        return f"http://{self.http_address}"

    @property
    def http_address(self) -> str:
        """Host and port, as tritonclient wants them."""
        return f"{embedded.LOOPBACK}:{self._ports.http}"

    @property
    def grpc_url(self) -> str:
        return f"{embedded.LOOPBACK}:{self._ports.grpc}"

    @property
    def metrics_url(self) -> str:
        return f"http://{embedded.LOOPBACK}:{self._ports.metrics}/metrics"

    @property
    def control_headers(self) -> dict[str, str]:
        """What opens the control API over HTTP."""
        return {embedded.CONTROL_HEADER: self.control_secret}

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it answers; takes other ports if somebody was quicker with these."""
        for _ in range(_PORT_TRIES):
            self._launch()
            wait_until(lambda: self._is_live() or self._has_exited(), what="Triton is live", timeout_s=_START_TIMEOUT_S)
            if not self._has_exited():
                return
            self._ports = _free_ports()
        pytest.fail(f"Triton does not start:\n{self.log[-4000:]}")

    def stop(self) -> None:
        """Ends the server the way an operator does and returns when it is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Kills the server process alone, with SIGKILL: its stubs and shared memory stay behind."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Kills the server and starts it again on the same ports."""
        self.kill()
        self.remove_leftovers()
        self.start()

    def remove_leftovers(self) -> None:
        """Removes what a server that is gone left behind."""
        embedded.kill_stubs(self.memory_prefix)
        wait_until(
            lambda: not embedded.stub_pids(self.memory_prefix), what="the stubs are gone", timeout_s=_STOP_TIMEOUT_S
        )
        embedded.remove_shared_memory(self.memory_prefix)

    def close(self) -> None:
        """Leaves nothing behind, whatever state the server is in."""
        self._client.close()
        if self._process is not None:
            if not self._has_exited():
                self.kill()
            self.remove_leftovers()

    def add_model(self, name: str, config: str, files: Mapping[str, bytes]) -> None:
        """Puts a model into the repository in one step; paths of `files` are relative to the model, `1/model.onnx`."""
        staged = self.repository.parent / f"staged-{name}"
        for path, content in {"config.pbtxt": config.encode(), **files}.items():
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).write_bytes(content)
        staged.rename(self.repository / name)

    def load(self, name: str) -> None:
        """Loads a model and returns when it serves. Raises `ControlError` if Triton refuses."""
        self._control(f"/v2/repository/models/{name}/load")
        self.wait_ready(name)

    def unload(self, name: str) -> None:
        """Unloads a model and returns when the index says that it is gone."""
        self._control(f"/v2/repository/models/{name}/unload")
        wait_until(lambda: self._is_unloaded(name), what=f"{name} is unloaded", timeout_s=_LOAD_TIMEOUT_S)

    def wait_ready(self, name: str, version: int | None = None) -> None:
        """Returns when a model, or that version of it, serves."""
        path = f"/v2/models/{name}" + ("" if version is None else f"/versions/{version}")
        wait_until(
            lambda: self._client.get(f"{self.http_url}{path}/ready").status_code == httpx.codes.OK,
            what=f"{name} is ready",
            timeout_s=_LOAD_TIMEOUT_S,
        )

    def index(self) -> list[dict[str, str]]:
        """Returns the repository index."""
        entries: list[dict[str, str]] = self._control("/v2/repository/index").json()
        return entries

    def _control(self, path: str) -> httpx.Response:
        response = self._client.post(f"{self.http_url}{path}", headers=self.control_headers, json={})
        if response.status_code != httpx.codes.OK:
            raise ControlError(response.status_code, response.json()["error"])
        return response

    def _is_unloaded(self, name: str) -> bool:
        entries = [entry for entry in self.index() if entry["name"] == name]
        return all(entry.get("state") == "UNAVAILABLE" and entry.get("reason") == "unloaded" for entry in entries)

    def _launch(self) -> None:
        arguments, variables = embedded.command(
            self._environment,
            repository=self.repository,
            backends=self._backends,
            home=self.home,
            ports=self._ports,
            control_secret=self.control_secret,
            memory_prefix=self.memory_prefix,
            **self._options,
        )
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                env=variables,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _is_live(self) -> bool:
        try:
            return self._client.get(f"{self.http_url}/v2/health/live").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _has_exited(self) -> bool:
        return self._process is not None and self._process.poll() is not None


class StartTriton(Protocol):
    """Starts a server; options are those of `deploy.embedded.triton.command`."""

    def __call__(self, **options: Any) -> TritonServer: ...


@contextlib.contextmanager
def running_triton(
    environment: embedded.TritonEnvironment, backends: Path, directory: Path, **options: Any
) -> Iterator[TritonServer]:
    """A live server for the time of a `with`; for fixtures with a scope of their own."""
    server = TritonServer(environment, backends, directory, **options)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def triton_environment() -> embedded.TritonEnvironment:
    """The environment that TRITON_ENV names, else `var/triton-env`."""
    venv = Path(os.environ.get("TRITON_ENV", _REPOSITORY_ROOT / "var" / "triton-env"))
    try:
        return embedded.TritonEnvironment.from_venv(venv)
    except embedded.TritonUnavailableError as error:
        pytest.fail(f"{error} (or name another one in TRITON_ENV)", pytrace=False)


@pytest.fixture(scope="session")
def triton_backends(triton_environment: embedded.TritonEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedded.assemble_backends(triton_environment, tmp_path_factory.mktemp("triton") / "backends")


@pytest.fixture(scope="session")
def triton(
    triton_environment: embedded.TritonEnvironment, triton_backends: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    """A server that the tests of a session share: give models names of their own, and do not stop it."""
    with running_triton(triton_environment, triton_backends, tmp_path_factory.mktemp("shared-triton")) as server:
        yield server


@pytest.fixture
def start_triton(
    triton_environment: embedded.TritonEnvironment, triton_backends: Path, tmp_path: Path
) -> Iterator[StartTriton]:
    """Starts servers that live as long as the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> TritonServer:
            directory = tmp_path / f"triton-{secrets.token_hex(4)}"
            return stack.enter_context(running_triton(triton_environment, triton_backends, directory, **options))

        yield start


def _free_ports() -> embedded.TritonPorts:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for listener in sockets:
            listener.bind((embedded.LOOPBACK, 0))
        http, grpc, metrics = (listener.getsockname()[1] for listener in sockets)
        return embedded.TritonPorts(http=http, grpc=grpc, metrics=metrics)
