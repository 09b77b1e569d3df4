"""Connections to servers: kept, checked before they are used again, and opened where there is none."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from controlplane.gateway.upstream.connection import UpstreamConnection
from controlplane.wire.snapshot import ServerEntry

CONNECT_TIMEOUT_S = 1.0
IDLE_S = 30.0
"""How long an unused connection is kept."""
MAX_IDLE = 256
"""Unused connections kept per server."""


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as host and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class UpstreamPool:
    """The HTTP connections of this process to all servers, by address.

    Not limited in number: Triton takes as many as come, and how many requests may run is the queue's decision.
    """

    def __init__(self) -> None:
        self._idle: dict[str, deque[UpstreamConnection]] = {}

    def take(self, server: ServerEntry) -> UpstreamConnection | None:
        """A connection that is open as far as can be known now, the last used first; None where there is none."""
        idle = self._idle.get(server.http)
        while idle:
            connection = idle.pop()
            if connection.is_fresh():
                return connection
            connection.close()
        return None

    async def connect(self, server: ServerEntry) -> UpstreamConnection:
        """Opens a connection.

        Raises:
            OSError: the server does not take one; a time-out is one too.
        """
        host, port = split_address(server.http)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(UpstreamConnection, host, port)
        return connection

    def give_back(self, server: ServerEntry, connection: UpstreamConnection) -> None:
        """Returns a connection after its request; it is closed where it cannot carry another."""
        idle = self._idle.setdefault(server.http, deque())
        if connection.finish() and len(idle) < MAX_IDLE:
            connection.idle_since = time.monotonic()
            idle.append(connection)
        else:
            connection.close()

    def close_unused(self) -> None:
        """Closes what was not used for a while; called about once a second."""
        limit = time.monotonic() - IDLE_S
        for address, idle in list(self._idle.items()):
            while idle and (idle[0].lost or idle[0].idle_since < limit):
                idle.popleft().close()
            if not idle:
                del self._idle[address]

    def close(self) -> None:
        """Closes every unused connection."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
