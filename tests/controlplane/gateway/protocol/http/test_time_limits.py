"""The time limits of client connections, by asking the server what it would do so much later."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.gateway.dataplane.plane import DataPlane
from controlplane.gateway.journal import Journal
from controlplane.gateway.orders import Orders
from controlplane.gateway.protocol.http.connection import HEAD_TIMEOUT_S, KEEP_ALIVE_S
from controlplane.gateway.protocol.http.exchange import BODY_IDLE_S
from controlplane.gateway.protocol.http.server import HttpServer
from controlplane.gateway.upstream.pool import UpstreamPool
from controlplane.wire.keys import generate_key, hash_key
from controlplane.wire.snapshot import KeyEntry, Snapshot
from controlplane.wire.usage import Cause
from tests.support.gateway import echo_model, read_records

_PEPPER = b"pepper"
_KEY = generate_key("test")


class Client:
    """A connection to a server in this process, and that server's clock."""

    def __init__(self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0.05)  # the server is in this loop: it has read the bytes after this

    async def read_after(self, seconds: float) -> bytes:
        """What the server sends until it closes, when so much time has gone by."""
        self.server.check_connections(time.perf_counter() + seconds)
        async with asyncio.timeout(5):
            return await self.reader.read()

    async def is_open_after(self, seconds: float) -> bool:
        self.server.check_connections(time.perf_counter() + seconds)
        await asyncio.sleep(0.05)
        return not self.reader.at_eof()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    orders = Orders()
    orders.apply(Snapshot(1, "test", 0, 1, [], time.time()), [])
    orders.keys[_KEY.key_id] = KeyEntry(1, hash_key(_KEY.text, _PEPPER), "org", "project")
    orders.models["echo"] = echo_model()
    journal = Journal.create(tmp_path)
    server = HttpServer(DataPlane(orders, _PEPPER, journal, None), UpstreamPool())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.listen(listener.dup())
        reader, writer = await asyncio.open_connection(*listener.getsockname())
    yield Client(server, reader, writer)
    writer.close()
    await server.drain(0)
    await server.close()
    journal.close()


async def test_a_head_must_arrive_in_time(client: Client) -> None:
    await client.send(b"GET /v2 HTTP/1.1\r\nHost")

    assert await client.is_open_after(HEAD_TIMEOUT_S - 1)
    assert (await client.read_after(HEAD_TIMEOUT_S + 1)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_a_body_must_go_on_arriving(client: Client, tmp_path: Path) -> None:
    head = f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\nX-API-Key: {_KEY.text}\r\nContent-Length: 99\r\n\r\n"
    await client.send(head.encode() + b"{")

    assert await client.is_open_after(BODY_IDLE_S - 1)
    answer = await client.read_after(BODY_IDLE_S + 1)

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"X-Error-Code: request.body_timeout\r\n" in answer
    [record] = read_records(tmp_path)
    assert (record.status, record.cause, record.bytes_in) == (408, Cause.CLIENT, 1)


async def test_a_quiet_connection_is_closed_after_a_while(client: Client) -> None:
    assert await client.is_open_after(KEEP_ALIVE_S - 1)
    assert await client.read_after(KEEP_ALIVE_S + 1) == b""
