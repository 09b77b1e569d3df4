"""What a stack consists of, as data: the supervisor knows processes and jobs, not products."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

Probe = Callable[[], Awaitable[bool]]
"""Asks a process whether it can do its work. Never raises."""

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Launch:
    """A command with everything it is started with."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


@dataclass(frozen=True)
class ProcessSpec:
    """A process that runs as long as the stack does."""

    name: str
    launch: Callable[[], Launch]
    """Asked right before each start: some commands need what an earlier step generated."""
    ready: Probe | None = None
    """None: it is ready when it has run for `settle_s`."""
    ports: tuple[int, ...] = ()
    settle_s: float = 3.0
    start_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0
    clean_up: Callable[[], object] = field(default=lambda: None)
    """Removes what the process left behind; called when nothing of it runs."""


@dataclass(frozen=True)
class Job:
    """A command that ends by itself; the stack goes on only if it succeeds."""

    name: str
    launch: Callable[[], Launch]
    purpose: str
    """What it does, for people: "prepare the database"."""
    timeout_s: float = 120.0


Stage = tuple[ProcessSpec | Job, ...]
"""Steps that may start together; the next stage waits until all of them are ready or done."""


async def _get(host: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
        writer.write(request.encode())
        return await reader.readline()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def http_probe(port: int, path: str, host: str = "127.0.0.1") -> Probe:
    """Ready when a GET is answered with 200."""

    async def probe() -> bool:
        try:
            status_line = await asyncio.wait_for(_get(host, port, path), PROBE_TIMEOUT_S)
        except (OSError, TimeoutError):
            return False
        return status_line.split(b" ")[1:2] == [b"200"]

    return probe


def redis_probe(socket: Path) -> Probe:
    """Ready when Redis answers a PING on its Unix socket."""

    async def ping() -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(b"PING\r\n")
            return await reader.readline()
        finally:
            writer.close()

    async def probe() -> bool:
        try:
            return await asyncio.wait_for(ping(), PROBE_TIMEOUT_S) == b"+PONG\r\n"
        except (OSError, TimeoutError):
            return False

    return probe
