"""Where the embedded stack keeps its things, and on which ports it listens.

The only reader of the ``UP_*`` environment variables. Standard library only: the bare Python that makes the
environments imports it too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import StackError

PROJECT_DIR = Path(__file__).resolve().parents[2]

SOCKET_PATH_LIMIT_BYTES = 107
"""``sun_path`` of a Unix socket holds 108 bytes with its final zero. Source: unix(7)."""

KEPT_VARIABLES = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    }
)
"""What a child process inherits of the caller's shell. Everything else, tokens and passwords first, stays there."""


LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Port:
    """A TCP port of the stack: who listens, where, and which variable moves it."""

    variable: str
    number: int
    listener: str
    host: str = LOOPBACK

    @property
    def address(self) -> str:
        """``host:port`` for a client on this machine."""
        return f"127.0.0.1:{self.number}"


def _port(environ: Mapping[str, str], variable: str, default: int, listener: str, host: str = LOOPBACK) -> Port:
    text = environ.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise StackError(f"{variable}={text!r} is not a port: set it to a number from 1 to 65535.")
    return Port(variable, int(text), listener, host)


@dataclass(frozen=True)
class Ports:
    """The ports of one embedded stack."""

    http: Port
    grpc: Port
    metrics: Port
    web: Port
    triton_http: Port
    triton_grpc: Port
    triton_metrics: Port

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Ports:
        """The ports, each changed by its own ``UP_*_PORT``.

        Raises:
            StackError: a variable holds no port number.
        """
        # The first key has no limits, so other machines get in only where somebody asks for it.
        host = environ.get("UP_HOST") or LOOPBACK
        return cls(
            http=_port(environ, "UP_HTTP_PORT", 8000, "the gateway's HTTP", host),
            grpc=_port(environ, "UP_GRPC_PORT", 8001, "the gateway's gRPC", host),
            metrics=_port(environ, "UP_METRICS_PORT", 8002, "the gateway's metrics"),
            web=_port(environ, "UP_WEB_PORT", 8080, "the web process"),
            triton_http=_port(environ, "UP_TRITON_HTTP_PORT", 8100, "Triton's HTTP"),
            triton_grpc=_port(environ, "UP_TRITON_GRPC_PORT", 8101, "Triton's gRPC"),
            triton_metrics=_port(environ, "UP_TRITON_METRICS_PORT", 8102, "Triton's metrics"),
        )

    def all(self) -> tuple[Port, ...]:
        """Every port, in the order they are reported."""
        return (
            self.http, self.grpc, self.metrics, self.web, self.triton_http, self.triton_grpc, self.triton_metrics,
        )  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """The paths and ports of one embedded stack."""

    state_dir: Path
    venv: Path
    triton_env: Path
    ports: Ports
    brought: frozenset[Path] = frozenset()
    """Environments that the caller named: used as they are, never made or changed."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Layout:
        """The layout that ``UP_STATE_DIR``, ``UP_VENV``, ``UP_TRITON_ENV`` and the ports describe.

        Raises:
            StackError: a variable holds no port number.
        """
        environ = os.environ if environ is None else environ
        state_dir = Path(environ.get("UP_STATE_DIR") or PROJECT_DIR / "var").absolute()
        return cls(
            state_dir=state_dir,
            venv=Path(environ.get("UP_VENV") or PROJECT_DIR / ".venv").absolute(),
            triton_env=Path(environ.get("UP_TRITON_ENV") or state_dir / "triton-env").absolute(),
            ports=Ports.from_environment(environ),
            brought=frozenset(
                Path(environ[name]).absolute() for name in ("UP_VENV", "UP_TRITON_ENV") if environ.get(name)
            ),
        )

    @property
    def python(self) -> Path:
        """The interpreter of the control plane and the gateway."""
        return self.venv / "bin" / "python"

    @property
    def run_dir(self) -> Path:
        """Pid files, the lock and the status of the running stack."""
        return self.state_dir / "run"

    @property
    def secrets_dir(self) -> Path:
        """The secret files."""
        return self.state_dir / "secrets"

    @property
    def repository(self) -> Path:
        """The model repository that Triton reads."""
        return self.state_dir / "model-repository"

    @property
    def log(self) -> Path:
        """The one log of all processes."""
        return self.state_dir / "logs" / "stack.log"

    @property
    def quickstart_env(self) -> Path:
        """The file with the URLs and credentials of this stack."""
        return self.state_dir / "quickstart.env"

    @property
    def redis_dir(self) -> Path:
        """Redis' working folder."""
        return self.state_dir / "redis"

    @property
    def redis_socket(self) -> Path:
        """Redis' Unix socket: in the state folder, or where that path is too long, in a temporary folder of its own."""
        socket = self.redis_dir / "redis.sock"
        if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT_BYTES:
            return socket
        digest = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"embedded-redis-{os.getuid()}-{digest}" / "redis.sock"

    def make_state_dirs(self) -> None:
        """Makes the folders, readable by their owner alone.

        Raises:
            StackError: a folder cannot be made, or the socket's temporary folder belongs to someone else.
        """
        folders = [self.state_dir, self.run_dir, self.log.parent, self.repository, self.redis_dir]
        try:
            for folder in [*folders, self.redis_socket.parent]:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"{error.filename} cannot be made ({error.strerror}): choose another folder with UP_STATE_DIR."
            ) from None
        self.state_dir.chmod(0o700)
        _refuse_foreign_folder(self.redis_socket.parent)


def _refuse_foreign_folder(folder: Path) -> None:
    # A name in /tmp can be guessed and taken before us; whoever owns the folder can swap the socket.
    found = folder.lstat()
    if found.st_uid != os.getuid() or folder.is_symlink() or found.st_mode & 0o077:
        raise StackError(f"{folder} must belong to you and be private (mode 0700): remove it or set UP_STATE_DIR.")


def child_environment(environ: Mapping[str, str], venv: Path) -> dict[str, str]:
    """The environment every child process starts from: what it needs to run, none of the caller's secrets."""
    kept = {name: value for name, value in environ.items() if name in KEPT_VARIABLES or name.startswith("LC_")}
    path = environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    # The parts talk to each other on loopback; a proxy of the shell must not stand between them.
    no_proxy = ",".join(filter(None, [kept.get("no_proxy") or kept.get("NO_PROXY"), "localhost,127.0.0.1,::1"]))
    return {
        **kept,
        "PATH": f"{venv / 'bin'}:{path}",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",
    }


def supervisor_environment(environ: Mapping[str, str], venv: Path) -> dict[str, str]:
    """What a detached supervisor needs: as little as its children, and where the stack lives and listens."""
    return child_environment(environ, venv) | {name: environ[name] for name in environ if name.startswith("UP_")}
