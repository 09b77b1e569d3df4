"""The agent's own small HTTP server: ``/metrics``, ``/ready``, ``/live``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

_REQUEST_TIMEOUT_S = 10.0
_MAX_HEAD_BYTES = 16 * 1024


class Page(NamedTuple):
    """What a path answers with."""

    status: HTTPStatus
    content_type: str
    body: bytes


class StatusServer:
    """Serves pages that are made anew for each GET; one request per connection."""

    def __init__(self, pages: dict[str, Callable[[], Page]]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serves on a listening socket until `close`."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_MAX_HEAD_BYTES)

    def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that is gone, slow or talks nonsense gets no answer and harms nobody.
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_render(self._page(head)))
                await writer.drain()
        writer.close()

    def _page(self, head: bytes) -> Page:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        make = self._pages.get(path)
        if make is None:
            return _plain(HTTPStatus.NOT_FOUND, f"Try {', '.join(self._pages)}.")
        if method != b"GET":
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "Use GET.")
        return make()


def _plain(status: HTTPStatus, text: str) -> Page:
    return Page(status, "text/plain; charset=utf-8", text.encode() + b"\n")


def _render(page: Page) -> bytes:
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + page.body
