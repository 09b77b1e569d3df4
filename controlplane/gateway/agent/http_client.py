"""A small HTTP/1.1 client: one kept-alive connection, one request at a time, no dependency beyond the parser."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

from controlplane.wire.errors import UnavailableError

CONNECT_TIMEOUT_S = 5.0
_READ_BYTES = 256 * 1024


class HttpResponse(NamedTuple):
    """An answer, read to its end."""

    status: int
    body: bytes


class HttpConnection:
    """Asks one server, by ``http`` or ``https`` (certificates are checked against the system's store)."""

    def __init__(self, base_url: str) -> None:
        url = urlsplit(base_url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError(f"{base_url!r} is no URL of a control plane: write http://host:port or https://host.")
        self._host = url.hostname
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._port = url.port or (443 if self._tls else 80)
        self._netloc = url.netloc.rpartition("@")[2]
        self._prefix = url.path.rstrip("/")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, timeout_s: float
    ) -> HttpResponse:
        """Asks once; a kept connection that turns out to be dead is replaced, so requests must bear being repeated.

        Raises:
            UnavailableError: no whole answer came in time.
        """
        message = self._message(method, path, headers, body)
        kept = self._streams is not None
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    return await self._exchange(message)
                except (OSError, EOFError):
                    if not kept:
                        raise
                    return await self._exchange(message)
        except (OSError, EOFError, httptools.HttpParserError) as error:  # a TimeoutError is an OSError
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"No answer from {self._netloc}: {reason}.") from error

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _message(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def _exchange(self, message: bytes) -> HttpResponse:
        response = _Response()
        try:
            reader, writer = await self._connected()
            writer.write(message)
            await writer.drain()
            while not response.complete:
                data = await reader.read(_READ_BYTES)
                if not data:
                    raise EOFError("the connection was closed before the answer was complete")
                response.feed(data)
        except BaseException:
            self.close()  # also when cancelled: the rest of this answer must not be taken for the next one's
            raise
        if not response.keep_alive:
            self.close()
        return HttpResponse(response.status, b"".join(response.body))

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._streams = await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls, limit=2 * _READ_BYTES
                )
        return self._streams


class _Response:
    """Collects what the parser reports."""

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.status = 0
        self.keep_alive = False
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()
        self.complete = True
