"""Real servers for the tests: a Redis and a Postgres of this run alone, started when a test asks for them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from deploy.embedded.redis import find_server

PATIENCE_S = 30.0
POLL_S = 0.05


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str], is_ready: Callable[[], bool], log: Path, stop_signal: signal.Signals, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends; fails with its output if it does not become ready."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text()}")
            time.sleep(POLL_S)
        yield process
    finally:
        process.send_signal(stop_signal)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """An empty Redis on a Unix socket in `folder`; yields its URL."""
    address = folder / "redis.sock"
    binary = find_server(os.environ.get("PATH", ""), Path(sys.prefix))
    settings = ["--port", "0", "--unixsocket", str(address), "--save", "", "--dir", str(folder)]

    def answers() -> bool:
        try:
            with redis.Redis(unix_socket_path=str(address)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    with running([str(binary), *settings], answers, folder / "redis.log", signal.SIGTERM):
        yield f"unix://{address}"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis: that of TEST_REDIS_URL, else one of our own."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield given
        return
    # Not pytest's folder: its name may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder, redis_server(Path(folder)) as url:
        yield url


def _postgres_programs(folder: Path) -> Path:
    """The folder with initdb and postgres: from PATH, from Debian's place, else from the pgserver wheel."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    if packaged := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return packaged[-1].parent
    wheel = importlib.util.find_spec("pgserver")
    if wheel is None or wheel.origin is None:
        pytest.fail("There is no Postgres: install one, or the package pgserver of requirements/dev.lock.")
    # A copy: as root we run it as another user, who may not enter our environment.
    site = Path(wheel.origin).parents[1]
    shutil.copytree(site / "pgserver" / "pginstall", folder / "pgserver" / "pginstall")
    shutil.copytree(site / "pgserver.libs", folder / "pgserver.libs")
    return folder / "pgserver" / "pginstall" / "bin"


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """An empty Postgres on a port of its own, its files in `folder`; yields its URL."""
    programs = _postgres_programs(folder)
    data, password, port = folder / "data", secrets.token_hex(16), free_port()
    data.mkdir(mode=0o700)
    (folder / "password").write_text(password)
    account: dict[str, Any] = {"cwd": folder}
    if os.getuid() == 0:
        # Postgres refuses to run as root.
        nobody = pwd.getpwnam("nobody")
        account |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        folder.chmod(0o755)
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
    login = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
    prepare = [str(programs / "initdb"), "-D", str(data), "--encoding=UTF8", "--locale=C", "--no-sync", *login]
    subprocess.run(prepare, check=True, capture_output=True, **account)
    url = f"postgres://postgres:{password}@127.0.0.1:{port}/postgres"
    # The data lives as long as the tests: nothing is gained by waiting for a disk.
    speed = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
    address = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]

    def answers() -> bool:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    command = [str(programs / "postgres"), "-D", str(data), *address, *speed]
    # SIGINT is its fast shutdown; on SIGTERM it would wait for connections that a test left open.
    with running(command, answers, folder / "postgres.log", signal.SIGINT, **account):
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real Postgres: that of TEST_POSTGRES_URL, else one of our own."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder, postgres_server(Path(folder)) as url:
        yield url
