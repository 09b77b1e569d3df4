"""What would not work on this machine is said in one sentence, before anything starts."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import preflight
from deploy.embedded.errors import StackError
from deploy.embedded.layout import PROJECT_DIR, Layout, Port, Ports
from tests.support.services import free_port


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_this_machine_passes(tmp_path: Path) -> None:
    assert list(preflight.machine_problems(Layout.from_environment({"UP_STATE_DIR": str(tmp_path)}))) == []


@pytest.mark.parametrize(("system", "machine"), [("Linux", "aarch64"), ("Darwin", "x86_64"), ("Darwin", "arm64")])
def test_another_cpu_or_system_is_refused(system: str, machine: str) -> None:
    assert f"not on {system} {machine}" in "".join(preflight.cpu_problems(system, machine))


@pytest.mark.parametrize(
    ("version", "fits"),
    [("glibc 2.31", False), ("none", False), ("glibc 2.35", True), ("glibc 2.36", True), ("glibc 3.0", True)],
)
def test_an_old_glibc_is_refused(version: str, fits: bool) -> None:
    problems = list(preflight.glibc_problems(version))
    assert (problems == []) is fits
    assert all(f"needs glibc 2.35 or newer and this machine has {version}" in problem for problem in problems)


@pytest.mark.parametrize(("version", "fits"), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), False)])
def test_only_two_versions_of_python_fit(version: tuple[int, int], fits: bool) -> None:
    problems = list(preflight.python_problems(version))
    assert (problems == []) is fits
    assert all("PYTHON=/path/to/python3.12" in problem for problem in problems)


def test_a_folder_that_triton_would_hand_to_a_shell_is_refused() -> None:
    assert list(preflight.path_problems(Path("/srv/my models"))) != []
    assert list(preflight.path_problems(Path("/srv/$(reboot)"))) != []
    assert list(preflight.path_problems(Path("/srv/control-plane_1.0/var"))) == []


def test_shared_memory_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "mount a tmpfs there" in "".join(preflight.shared_memory_problems(tmp_path / "shm"))


def test_a_taken_port_names_its_holder_and_the_variable_that_moves_ours(taken_port: int) -> None:
    (problem,) = preflight.port_problems((Port("UP_WEB_PORT", taken_port, "the web process"),))
    assert problem.startswith(f"Port {taken_port} (the web process) is taken by process {os.getpid()} (")
    assert problem.endswith("stop it or choose another port with UP_WEB_PORT.")


def test_a_port_on_all_addresses_is_taken_when_one_address_is(taken_port: int) -> None:
    assert list(preflight.port_problems((Port("UP_HTTP_PORT", taken_port, "HTTP", "0.0.0.0"),))) != []  # noqa: S104


def test_a_port_is_free_while_old_connections_linger() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)):
            accepted, _ = listener.accept()
            accepted.close()  # this side closes first, so it keeps the connection in TIME_WAIT
    assert list(preflight.port_problems((Port("UP_WEB_PORT", number, "the web process"),))) == []


def test_two_listeners_on_one_port_are_refused() -> None:
    number = free_port()
    ports = (Port("UP_HTTP_PORT", number, "HTTP"), Port("UP_GRPC_PORT", number, "gRPC"))
    assert list(preflight.port_problems(ports)) == [
        f"UP_HTTP_PORT and UP_GRPC_PORT are both {number}: give each a port of its own."
    ]


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "8000.0"])
def test_a_port_that_is_no_number_names_its_variable(text: str) -> None:
    with pytest.raises(StackError, match=r"UP_HTTP_PORT=.* is not a port"):
        Ports.from_environment({"UP_HTTP_PORT": text})


def test_up_refuses_a_taken_port_in_one_line_and_starts_nothing(taken_port: int, tmp_path: Path) -> None:
    ports = {port.variable: str(free_port()) for port in Ports.from_environment({}).all()}
    environment = {**os.environ, **ports, "UP_TRITON_GRPC_PORT": str(taken_port), "UP_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "deploy.embedded", "up", "--detach"]
    result = subprocess.run(command, env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: Port {taken_port} (Triton's gRPC) is taken by process {os.getpid()}")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "secrets").exists()


def test_preflight_runs_under_a_bare_python(tmp_path: Path) -> None:
    ports = {port.variable: str(free_port()) for port in Ports.from_environment({}).all()}
    bare = [sys.executable, "-S", "-m", "deploy.embedded", "preflight"]
    environment = {"PATH": "/usr/bin:/bin", "UP_STATE_DIR": str(tmp_path), **ports}
    result = subprocess.run(bare, env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
