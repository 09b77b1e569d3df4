"""Questions to servers outside the data path: ask, wait, have the whole answer."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from controlplane.gateway.upstream.connection import UpstreamConnection
from controlplane.gateway.upstream.pool import UpstreamPool
from controlplane.wire.snapshot import ServerEntry


class Fetched(NamedTuple):
    """An answer."""

    status: int
    body: bytes


class _Waiter:
    """The receiver that collects an answer."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def upstream_progressed(self) -> None:
        if self._connection.complete and not self.done.done():
            self.done.set_result(None)

    def upstream_lost(self) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionResetError("The server closed the connection before it answered."))

    def upstream_writable(self, writable: bool) -> None:
        """A question is small: it is written in one go."""


async def fetch(pool: UpstreamPool, server: ServerEntry, path: bytes, timeout_s: float) -> Fetched:
    """Gets a path from a server.

    Raises:
        OSError: it cannot be reached, went away or took too long.
    """
    connection = pool.take(server) or await pool.connect(server)
    waiter = _Waiter(connection)
    connection.begin(waiter)
    connection.write(b"GET %b HTTP/1.1\r\nHost: %b\r\nAccept-Encoding: identity\r\n\r\n" % (path, server.http.encode()))
    try:
        async with asyncio.timeout(timeout_s):
            await waiter.done
    except BaseException:
        connection.close()
        raise
    answer = Fetched(connection.status, b"".join(connection.take()))
    pool.give_back(server, connection)
    return answer
