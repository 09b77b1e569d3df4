"""The one log of the stack: time, process, line; rotated by size, without secrets, in colour on a terminal."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

MAX_FILE_BYTES = 10_000_000
KEPT_FILES = 5
SHORTEST_SECRET = 8
"""Shorter values would blacken innocent words."""
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
NAME_WIDTH = 10


class StackLog:
    """Writes the lines of all processes into one file, and to a terminal if one is given."""

    def __init__(self, path: Path, terminal: TextIO | None = None, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        self._terminal = terminal
        self._coloured = terminal is not None and terminal.isatty()
        self._max_file_bytes = max_file_bytes
        self._secrets: tuple[str, ...] = ()
        self._file = self._open()

    def hide(self, secrets: Iterable[str]) -> None:
        """From now on these values appear as ``***``: some programs print their own configuration."""
        found = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        self._secrets = tuple(sorted(found, key=len, reverse=True))

    def write(self, name: str, line: str) -> None:
        """Writes one line of one process."""
        for secret in self._secrets:
            line = line.replace(secret, "***")
        time = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        self._file.write(f"{time} {name:<{NAME_WIDTH}} {line}\n")
        if self._file.tell() >= self._max_file_bytes:
            self._rotate()
        if self._terminal is not None:
            self._echo(self._terminal, time, name, line)

    def close(self) -> None:
        """Closes the file; nothing is written after it."""
        self._file.close()

    def _echo(self, terminal: TextIO, time: str, name: str, line: str) -> None:
        label = f"{time[11:19]} {name:<{NAME_WIDTH}}"
        if self._coloured:
            label = f"\x1b[{COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]}m{label}\x1b[0m"
        try:
            print(label, line, file=terminal, flush=True)
        except OSError:
            # The terminal was closed; the file goes on.
            self._terminal = None

    def _open(self) -> TextIO:
        return self.path.open("a", encoding="utf-8", buffering=1)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            if older.exists():
                older.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self._file = self._open()


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, at most 256 KB of them."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 262_144))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def secrets_in(secrets_dir: Path, quickstart: dict[str, str]) -> Iterator[str]:
    """The values that must not be logged: every line of every secret file, and the credentials of the first run."""
    for file in secrets_dir.glob("*") if secrets_dir.is_dir() else ():
        if file.suffix != ".pub" and "public" not in file.name:
            yield from (line.strip() for line in file.read_text(errors="replace").splitlines())
    for name, value in quickstart.items():
        if name.endswith(("PASSWORD", "KEY", "TOKEN")):
            yield value


def read_env_file(path: Path) -> dict[str, str]:
    """The ``NAME=value`` lines of a file; empty where there is none."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}
