import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from controlplane.gateway.agent.http_client import HttpConnection
from controlplane.wire.errors import UnavailableError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[HttpConnection]:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    connection = HttpConnection(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/prefix/")
    try:
        yield connection
    finally:
        connection.close()
        server.close()
        await server.wait_closed()


async def test_a_connection_is_kept_between_requests() -> None:
    heads: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(4)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n")

    async with serving(serve) as connection:
        for _ in range(3):
            answer = await connection.request("POST", "/path", {"X-Name": "value"}, b"body", timeout_s=5)
            assert answer == (200, b"yes")
    assert connections == 1
    assert heads[0].startswith(b"POST /prefix/path HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-Name: value\r\n" in heads[0]
    assert b"Content-Length: 4\r\n" in heads[0]


async def test_a_kept_connection_that_died_is_replaced() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")  # says it keeps the connection, and closes it

    async with serving(serve) as connection:
        for _ in range(3):
            assert (await connection.request("GET", "/", {}, timeout_s=5)).status == 204


async def test_no_answer_half_an_answer_and_nonsense_are_unavailable() -> None:
    for said in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"SSH-2.0-OpenSSH\r\n\r\n"):

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = said) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)

        async with serving(serve) as connection:
            with pytest.raises(UnavailableError):
                await connection.request("GET", "/", {}, timeout_s=5)


async def test_an_answer_that_does_not_come_in_time_is_unavailable_and_never_taken_for_the_next() -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        if asked == 1:
            await reader.read()  # until the client gives up
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")

    async with serving(serve) as connection:
        with pytest.raises(UnavailableError):
            await connection.request("GET", "/", {}, timeout_s=0.1)
        assert (await connection.request("GET", "/", {}, timeout_s=5)).body == b"second"


async def test_nobody_there_is_unavailable() -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
        await HttpConnection(f"http://127.0.0.1:{port}").request("GET", "/", {}, timeout_s=5)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no URL"):
        HttpConnection(url)
