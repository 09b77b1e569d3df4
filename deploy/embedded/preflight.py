"""Looks at the machine before anything is installed or started, and says in a sentence what would not work.

Standard library only: it runs under the bare Python that makes the environments.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import socket
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from deploy.embedded import procfs
from deploy.embedded.layout import Layout, Port

SUPPORTED_PYTHONS = ((3, 11), (3, 12))
MINIMUM_GLIBC = (2, 35)
ENVIRONMENTS_BYTES = 3_000_000_000
"""Room for the environments (1.5 GB with the tests' packages) and the package cache beside them."""
STATE_BYTES = 300_000_000
SHARED_MEMORY_BYTES = 48_000_000
"""Triton maps 1 MB per model instance at first and more for large tensors; Docker gives containers 64 MB."""
SHELL_SAFE_PATH = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's shared memory, not a temporary file


def machine_problems(layout: Layout) -> Iterator[str]:
    """What about this machine keeps the stack from running, a sentence each."""
    yield from cpu_problems(platform.system(), platform.machine())
    yield from glibc_problems(_glibc_version())
    yield from python_problems(sys.version_info[:2])
    yield from libpython_problems()
    yield from path_problems(layout.state_dir)
    yield from path_problems(layout.triton_env)
    yield from owner_problems(layout.state_dir)
    yield from disk_problems(layout)
    yield from shared_memory_problems(SHARED_MEMORY)


def cpu_problems(system: str, machine: str) -> Iterator[str]:
    """Triton's wheel exists for x86-64 Linux alone."""
    if (system, machine) != ("Linux", "x86_64"):
        yield f"The embedded Triton runs on x86-64 Linux, not on {system} {machine}: use an x86-64 Linux machine."


def _glibc_version() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "none"
    except (ValueError, OSError):
        return "none"


def glibc_problems(version: str) -> Iterator[str]:
    """The Triton binary is linked against glibc 2.35."""
    name, _, number = version.partition(" ")
    parts = number.split(".")
    if name != "glibc" or tuple(int(part) for part in parts[:2]) < MINIMUM_GLIBC:
        yield (
            f"Triton needs glibc 2.35 or newer and this machine has {version}: "
            "use Debian 12, Ubuntu 22.04, RHEL 10 or newer."
        )


def python_problems(version: tuple[int, ...]) -> Iterator[str]:
    """The wheels and Triton's Python stubs fit two versions of Python."""
    if tuple(version) not in SUPPORTED_PYTHONS:
        found = ".".join(str(part) for part in version)
        yield f"Python {found} does not fit: install Python 3.11 or 3.12 and name it with PYTHON=/path/to/python3.12."


def libpython_problems() -> Iterator[str]:
    """Triton's Python stub is linked against the shared library of Python, which some distributions package apart."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    if (Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / name).exists():
        return
    try:
        # Python symbols exist in this process already; the library is opened only to learn that the linker finds it.
        ctypes.CDLL(name, mode=os.RTLD_LOCAL | os.RTLD_LAZY)
    except OSError:
        package = name.partition(".so")[0]
        yield (
            f"{name}, which Triton's Python backend needs, is missing: install the package {package}, "
            "or name another Python with PYTHON=."
        )


def path_problems(path: Path) -> Iterator[str]:
    """Triton starts its Python stubs through a shell and does not quote paths."""
    if not SHELL_SAFE_PATH.fullmatch(str(path)):
        yield (
            f"Triton cannot use the folder {str(path)!r}: move the repository, or set UP_STATE_DIR and UP_TRITON_ENV, "
            "to a path with only letters, digits and _@%+=:,./-"
        )


def owner_problems(state_dir: Path) -> Iterator[str]:
    """The state folder is private, so only its owner can run the stack."""
    if state_dir.exists() and (owner := state_dir.stat().st_uid) != os.getuid():
        yield (
            f"{state_dir} belongs to user {owner} and you are user {os.getuid()}: "
            "run as its owner or choose another folder with UP_STATE_DIR."
        )


def disk_problems(layout: Layout) -> Iterator[str]:
    """Half-installed environments are worse than none."""
    complete = layout.python.exists() and (layout.triton_env / "bin").exists()
    needed = STATE_BYTES if complete else ENVIRONMENTS_BYTES
    folder = next(parent for parent in [layout.state_dir, *layout.state_dir.parents] if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        yield (
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed: "
            "make room or choose another disk with UP_STATE_DIR."
        )


def shared_memory_problems(folder: Path) -> Iterator[str]:
    """Triton and its Python models pass tensors through /dev/shm."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield f"{folder}, through which Triton passes tensors, cannot be written: mount a tmpfs there."
    elif (free := shutil.disk_usage(folder).free) < SHARED_MEMORY_BYTES:
        yield (
            f"{folder} has {free / 1e6:.0f} MB free and Triton needs {SHARED_MEMORY_BYTES / 1e6:.0f} MB: "
            "remove leftovers there, or start the container with --shm-size=256m."
        )


def port_problems(ports: tuple[Port, ...]) -> Iterator[str]:
    """Which ports are taken, by whom where that can be seen, and which variable moves ours."""
    first_user: dict[int, Port] = {}
    for port in ports:
        if (other := first_user.setdefault(port.number, port)) is not port:
            yield f"{other.variable} and {port.variable} are both {port.number}: give each a port of its own."
        elif not _is_free(port):
            holder = procfs.listener_of(port.number) or "another process"
            yield (
                f"Port {port.number} ({port.listener}) is taken by {holder}: "
                f"stop it or choose another port with {port.variable}."
            )


def _is_free(port: Port) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
            # Two sockets with SO_REUSEADDR may be bound to one port; only one of them may listen.
            probe.listen(1)
        except OSError:
            return False
    return True
