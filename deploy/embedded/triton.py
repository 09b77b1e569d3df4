"""Runs the `tritonserver` that ships inside the nvidia-pytriton wheel: no Docker, no GPU needed, no root.

The only place that knows how: `make up` starts its Triton with it, and so do the tests.

How access to the control API works (measured on 2.51). `command` restricts the model repository (index included),
shared memory, tracing and logging to callers that know the control secret:

* over HTTP the header `triton-control: <secret>`; without it the answer is 403;
* over gRPC the metadata `triton-grpc-protocol-triton-control: <secret>`; without it the status is UNAVAILABLE.

Triton takes the secret only as a command-line argument, so every user of the host can read it from the process list. It
keeps clients of the network out, which is all it is for; the ports are bound to loopback unless told otherwise.

How a server's leftovers are found. Each server gets a prefix of its own for the shared memory of its Python models
(`shm-region-prefix-name`); the models' processes ("stubs") carry the name of their region in their arguments. So what a
killed server left behind can be removed exactly, whatever other Tritons run on the host.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import procfs
from deploy.embedded.errors import StackError

CONTROL_HEADER = "triton-control"
CONTROL_METADATA_KEY = f"triton-grpc-protocol-{CONTROL_HEADER}"
RESTRICTED_APIS = ("model-repository", "shared-memory", "trace", "logging")
LOOPBACK = "127.0.0.1"

_ONNXRUNTIME_STAND_IN = Path(__file__).resolve().parents[2] / "triton_models" / "backends" / "onnxruntime"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  where POSIX shared memory lives on Linux
_REMEDY = "run `make up`, or `make triton-env` for this environment alone"
_STUB = "triton_python_backend_stub"
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# Triton splits the restricted-API flag at these and strips blanks; a secret of token_urlsafe() or token_hex() passes.
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,}")
# Triton starts its stubs through `bash -c` and does not quote: a blank makes loads hang, a `$(` runs what follows.
_SHELL_SAFE_PATH = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_DESCRIBE_PYTHON = (
    "import json, sys, sysconfig; version = '%d.%d' % sys.version_info[:2];"
    "print(json.dumps([version, sysconfig.get_config_var('LIBDIR'), sysconfig.get_path('purelib')]))"
)


class TritonUnavailableError(StackError):
    """Triton cannot be started here; the message says what to do about it."""


@dataclass(frozen=True)
class TritonEnvironment:
    """A virtual environment with the nvidia-pytriton wheel and the packages that models import.

    Make one with `from_venv`, which checks that everything is there.
    """

    venv: Path
    python_version: str
    python_libraries: Path
    site_packages: Path

    @classmethod
    def from_venv(cls, venv: Path) -> "TritonEnvironment":
        """Looks into a virtual environment, for example `var/triton-env`.

        Raises:
            TritonUnavailableError: There is none, or it lacks the server or the stub for its Python.
        """
        python = venv.absolute() / "bin" / "python3"
        if not python.exists():
            raise TritonUnavailableError(f"there is no Python environment in {venv}: {_REMEDY}")
        try:
            answer = subprocess.run([python, "-c", _DESCRIBE_PYTHON], capture_output=True, check=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise TritonUnavailableError(
                f"the Python in {venv} does not run: remove the folder, then {_REMEDY}"
            ) from error
        version, libraries, site_packages = json.loads(answer.stdout)
        environment = cls(
            venv=venv.absolute(),
            python_version=version,
            python_libraries=Path(libraries),
            site_packages=Path(site_packages),
        )
        environment.check()
        return environment

    @property
    def distribution(self) -> Path:
        """The folder of the wheel that holds server, backends, stubs and caches."""
        return self.site_packages / "pytriton" / "tritonserver"

    @property
    def server(self) -> Path:
        """The server binary."""
        return self.distribution / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The program that runs one instance of a Python model; there is one for each version of Python."""
        return self.distribution / "python_backend_stubs" / self.python_version / _STUB

    @property
    def library_path(self) -> str:
        """The `LD_LIBRARY_PATH` without which a stub dies silently and its load never ends."""
        return f"{self.site_packages / 'nvidia_pytriton.libs'}:{self.python_libraries}"

    def check(self) -> None:
        """Raises `TritonUnavailableError` unless server and stub are there."""
        if not self.server.is_file():
            raise TritonUnavailableError(f"{self.venv} has no tritonserver (package nvidia-pytriton): {_REMEDY}")
        if not self.stub.is_file():
            raise TritonUnavailableError(
                f"nvidia-pytriton in {self.venv} has no {_STUB} for Python {self.python_version}: "
                f"make the environment with Python 3.11 or 3.12, then {_REMEDY}"
            )


@dataclass(frozen=True)
class TritonPorts:
    """Where one server listens."""

    http: int
    grpc: int
    metrics: int


def assemble_backends(environment: TritonEnvironment, target: Path) -> Path:
    """Fills `target` with the backends of a server: `python`, and our stand-in as `onnxruntime`.

    May be called again: each backend is replaced as a whole, by renaming, so no half-copied one is ever loaded.

    Returns:
        `target`, for `command`.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        staged = Path(scratch)
        shutil.copytree(environment.distribution / "backends" / "python", staged / "python")
        shutil.copy2(environment.stub, staged / "python" / _STUB)
        # Not every installer keeps the mode of a program that is package data.
        (staged / "python" / _STUB).chmod(0o755)
        without_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_ONNXRUNTIME_STAND_IN, staged / "onnxruntime", ignore=without_bytecode)
        for backend in ("python", "onnxruntime"):
            if (target / backend).exists():
                (target / backend).rename(staged / f"{backend}.old")
            (staged / backend).rename(target / backend)
    return target


def shared_memory_prefix(owner: Path | str) -> str:
    """Returns the prefix of a server's shared memory: the same for the same owner, so a successor finds leftovers.

    Args:
        owner: What only one server can have at a time, such as its state folder.
    """
    # The trailing "_" keeps one server's prefix from being the beginning of another's.
    return f"triton_{hashlib.sha256(str(owner).encode()).hexdigest()[:16]}_"


def command(
    environment: TritonEnvironment,
    *,
    repository: Path | str,
    backends: Path,
    home: Path,
    ports: TritonPorts,
    control_secret: str | Path,
    memory_prefix: str,
    address: str = LOOPBACK,
    response_cache_bytes: int | None = None,
    exit_timeout_s: int = 10,
    s3_environment: Mapping[str, str] | None = None,
    log_verbosity: int = 0,
) -> tuple[list[str], dict[str, str]]:
    """Returns the arguments and the whole environment of a server; start it with `cwd=home`.

    Nothing of the caller's environment is passed on. The stubs run Python in isolated mode (measured): they ignore
    PYTHONPATH and PYTHONHOME, find their packages through the `python3` that comes first on PATH, and import from
    the current directory, which must therefore be one that only we write to.

    Args:
        environment: Where the server comes from.
        repository: The model repository: a folder, or an address such as `s3://http://127.0.0.1:9000/bucket/prefix`.
        backends: What `assemble_backends` filled.
        home: A private folder: HOME and current directory of the server.
        ports: Where it listens.
        control_secret: Opens the control API; the secret itself, or the file that holds it.
        memory_prefix: What `shared_memory_prefix` returned for this server.
        address: The address to bind.
        response_cache_bytes: Size of the local response cache; None runs without one.
        exit_timeout_s: How long SIGTERM waits for requests in flight, and as long for idle keep-alive connections of
            clients, which Triton does not close itself (measured).
        s3_environment: `AWS_*` variables for an S3 repository.
        log_verbosity: Triton's `--log-verbose`; 0 is quiet.

    Raises:
        TritonUnavailableError: A path, the secret or a variable cannot be handed to Triton safely.
    """
    secret = _secret(control_secret)
    location = _shell_safe(repository)
    arguments = [
        str(environment.server),
        f"--model-repository={location}",
        f"--backend-directory={_shell_safe(backends)}",
        f"--backend-config=python,shm-region-prefix-name={memory_prefix}",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--strict-readiness=false",
        "--exit-on-error=false",
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={exit_timeout_s}",
        *_listeners(ports, address),
        *_restrictions(secret),
        f"--log-verbose={log_verbosity}",
    ]
    if response_cache_bytes is not None:
        arguments.append(f"--cache-directory={environment.distribution / 'caches'}")
        arguments.append(f"--cache-config=local,size={response_cache_bytes}")
    variables = {
        "HOME": str(home.absolute()),
        "PATH": f"{environment.venv / 'bin'}:{_SYSTEM_PATH}",
        "LD_LIBRARY_PATH": environment.library_path,
        **_s3_variables(s3_environment or {}),
    }
    return arguments, variables


def shared_memory_regions(memory_prefix: str) -> list[Path]:
    """Lists the shared memory of one server, live or left behind. Sizes: 1 MB and more each."""
    return sorted(region for region in _SHARED_MEMORY.iterdir() if region.name.startswith(memory_prefix))


def remove_shared_memory(memory_prefix: str) -> int:
    """Removes the shared memory that a server left behind; only call it when server and stubs are gone.

    Returns:
        How many regions there were.
    """
    regions = shared_memory_regions(memory_prefix)
    for region in regions:
        region.unlink(missing_ok=True)
    return len(regions)


def stub_pids(memory_prefix: str) -> list[int]:
    """Lists the processes of one server's Python models. After `kill -9` of the server they live on for seconds."""
    return sorted(process.pid for process in procfs.processes() if _is_stub(procfs.command(process.pid), memory_prefix))


def kill_stubs(memory_prefix: str) -> list[int]:
    """Kills what `stub_pids` lists and returns it; for a server that is gone, whose stubs have nothing left to do."""
    pids = stub_pids(memory_prefix)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return pids


def _is_stub(arguments: Sequence[str], memory_prefix: str) -> bool:
    if not arguments or Path(arguments[0]).name != _STUB:
        return False
    return any(argument.startswith(memory_prefix) for argument in arguments[1:])


def _listeners(ports: TritonPorts, address: str) -> list[str]:
    return [
        f"--http-address={address}",
        f"--http-port={ports.http}",
        f"--grpc-address={address}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={address}",
        f"--metrics-port={ports.metrics}",
    ]


def _restrictions(secret: str) -> list[str]:
    rule = f"{','.join(RESTRICTED_APIS)}:{CONTROL_HEADER}={secret}"
    return [f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"]


def _secret(source: str | Path) -> str:
    value = source.read_text().strip() if isinstance(source, Path) else source
    if not _SECRET.fullmatch(value):
        raise TritonUnavailableError(
            "the control secret must be 16 or more letters, digits, '-' and '_': make one with secrets.token_urlsafe()"
        )
    return value


def _shell_safe(location: Path | str) -> str:
    text = str(location.absolute()) if isinstance(location, Path) else location
    if not _SHELL_SAFE_PATH.fullmatch(text):
        raise TritonUnavailableError(
            f"Triton hands {text!r} to a shell unquoted: "
            "use a folder whose path has only letters, digits and _@%+=:,./-"
        )
    return text


def _s3_variables(variables: Mapping[str, str]) -> dict[str, str]:
    foreign = sorted(name for name in variables if not name.startswith("AWS_"))
    if foreign:
        raise TritonUnavailableError(f"only AWS_* variables may be passed to Triton, not {', '.join(foreign)}")
    return dict(variables)
