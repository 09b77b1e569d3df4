"""The HTTP side of a worker: accepts connections on an inherited socket, watches the clock, drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Coroutine
from typing import Any

from controlplane.gateway.dataplane.plane import DataPlane
from controlplane.gateway.protocol.http.connection import HttpConnection
from controlplane.gateway.protocol.http.proxies import TrustedProxies
from controlplane.gateway.upstream.pool import UpstreamPool

logger = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.2
BACKLOG = 4096
HANDSHAKE_TIMEOUT_S = 10.0
DRAIN_IDLE_S = 0.5
"""While draining, a connection between two requests gets this long to send one more and be told to close."""


class HttpServer:
    """Everything the HTTP connections of one process share.

    Attributes:
        connections: that are open.
        draining: whether answers tell the client to close.
    """

    def __init__(self, plane: DataPlane, pool: UpstreamPool, trusted_proxies: TrustedProxies | None = None) -> None:
        self.plane = plane
        self.pool = pool
        self.trusted_proxies = trusted_proxies or TrustedProxies(())
        self.connections: set[HttpConnection] = set()
        self.draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._unrecorded_at = 0.0

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Starts to accept on a bound socket, which other processes may accept on too.

        Args:
            tls: speaks TLS, with this certificate; plain TCP without.
        """
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: HttpConnection(self),
            sock=sock,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else HANDSHAKE_TIMEOUT_S,
        )
        self._watch = loop.create_task(self._keep_time())

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something beside the callbacks, such as opening a connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def note_unrecorded(self) -> None:
        """Says, at most once a second, that requests are refused because they cannot be counted."""
        now = time.monotonic()
        if now - self._unrecorded_at > 1:
            self._unrecorded_at = now
            logger.error("Requests are refused: the journal has no room for their records.")

    async def drain(self, limit_s: float) -> None:
        """Stops accepting and returns when every request is answered, or when the time is over."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        deadline = time.monotonic() + limit_s
        idle_until = time.monotonic() + min(DRAIN_IDLE_S, limit_s)
        while self.connections and time.monotonic() < deadline:
            if time.monotonic() >= idle_until:
                for connection in list(self.connections):
                    connection.close_if_idle()
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Cuts what is left."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        for connection in list(self.connections):
            connection.give_up()
        self.pool.close()

    def check_connections(self, now: float) -> None:
        """Enforces the time limits of every connection as of a reading of `time.perf_counter`."""
        for connection in list(self.connections):
            connection.check(now)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self.check_connections(time.perf_counter())
            self.pool.close_unused()
