"""From a fresh clone to the first prediction: how long it takes and how much disk it needs.

``python -m tests.benchmarks.spine`` clones the committed state into a temporary folder, runs ``make up`` there with an
empty package cache and other ports, asks for one prediction with the printed key, and measures the environments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from controlplane.quickstart.environment import read_environment
from tests.benchmarks.report import Figure, Section, machine, write_section
from tests.support.services import free_port
from tests.support.stack import PORTS

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1e6
NOT_OURS = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
"""What every virtual environment brings; the figure for the gateway leaves it out."""

DIGIT = [0, 0, 0, 15, 12, 1, 0, 0, 0, 0, 5, 16, 16, 6, 0, 0, 0, 0, 2, 16, 16, 3, 0, 0, 0, 0, 2, 16, 16, 1, 0, 0]
DIGIT += [0, 0, 6, 16, 13, 0, 0, 0, 0, 0, 1, 16, 16, 2, 0, 0, 0, 0, 3, 16, 15, 3, 0, 0, 0, 0, 0, 15, 16, 1, 0, 0]


@dataclass(frozen=True)
class FreshClone:
    """A clone in a folder of its own, with the environment its commands run in."""

    folder: Path
    environment: dict[str, str]

    def make(self, *arguments: str) -> float:
        """Runs make and returns how many seconds it took; its output goes to the terminal."""
        started = time.perf_counter()
        subprocess.run(["make", *arguments], cwd=self.folder, env=self.environment, check=True)
        return time.perf_counter() - started


def fresh_clone(folder: Path) -> FreshClone:
    """Clones what is committed; nothing of this checkout's environments is used."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UP_", "CONTROLPLANE_"))}
    environment |= {f"UP_{name}_PORT": str(free_port()) for name in PORTS}
    environment |= {"UV_CACHE_DIR": str(folder / "cache"), "PIP_NO_CACHE_DIR": "1"}
    environment.pop("VIRTUAL_ENV", None)
    return FreshClone(folder / "clone", environment)


def size_of(folder: Path, *, without: tuple[str, ...] = ()) -> float:
    """Megabytes on disk below a folder, links not followed, each file counted once."""
    seen: set[int] = set()
    total = 0
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or any(part.startswith(without) for part in path.parts if without):
            continue
        status = path.stat()
        if status.st_ino not in seen:
            seen.add(status.st_ino)
            total += status.st_blocks * 512
    return total / MEGABYTE


def first_prediction(clone: FreshClone) -> float:
    """Seconds from an answered `make up` to the first prediction."""
    values = read_environment(clone.folder / "var" / "quickstart.env")
    body = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": DIGIT}]}
    started = time.perf_counter()
    answer = httpx.post(
        f"{values['GATEWAY_URL']}/v2/models/digits/infer",
        json=body,
        headers={"Authorization": f"Bearer {values['API_KEY']}"},
        timeout=30,
    )
    answer.raise_for_status()
    probabilities = next(output for output in answer.json()["outputs"] if output["name"] == "probabilities")["data"]
    if max(range(10), key=probabilities.__getitem__) != 1:
        raise RuntimeError("the demo did not recognise its digit")
    return time.perf_counter() - started


def gateway_environment_size(folder: Path) -> float:
    """Megabytes of an environment that holds the gateway's lock alone, without pip and setuptools."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    lock = ROOT / "requirements" / "gateway.lock"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    subprocess.run([*install, "--require-hashes", "-r", str(lock)], check=True)
    return size_of(folder, without=NOT_OURS)


def main() -> None:
    """Measures and writes the section."""
    with tempfile.TemporaryDirectory(prefix="spine-") as temporary:
        clone = fresh_clone(Path(temporary))
        try:
            fresh_s = clone.make("up", "DETACH=1") + first_prediction(clone)
            clone.make("down")
            again_s = clone.make("up", "DETACH=1")
        finally:
            clone.make("down")
        environments_mb = size_of(clone.folder / ".venv") + size_of(clone.folder / "var" / "triton-env")
        gateway_mb = gateway_environment_size(Path(temporary) / "gateway")
    write_section(
        Section(
            "From a clone to a prediction",
            "python -m tests.benchmarks.spine",
            machine(),
            [
                Figure("fresh clone to first prediction, packages downloaded on the way", f"{fresh_s:.0f} s", "180 s"),
                Figure("`make up` again, state and environments kept", f"{again_s:.0f} s", ""),
                Figure("all environments (`.venv` and `var/triton-env`)", f"{environments_mb:.0f} MB", "1,700 MB"),
                Figure("a gateway host's environment, without pip and setuptools", f"{gateway_mb:.0f} MB", "80 MB"),
            ],
        )
    )


if __name__ == "__main__":
    main()
