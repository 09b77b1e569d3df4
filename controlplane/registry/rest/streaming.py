"""Bodies that a view reads while they arrive.

Under ASGI Django reads a request's whole body into a temporary file before the view runs: a 5 GB upload would be
written twice, and would not be resumable until all of it was there. `StreamedBodies` stands in front of Django, gives
it an empty body for the paths of uploads, and lays the real one beside it. Everything else (sessions, tokens, CSRF,
errors) stays Django's business, in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import CancelledError
from typing import Any, cast

from rest_framework.request import Request

from controlplane.registry.uploads import ByteSource

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

PATHS = "/api/uploads"

IDLE_S = 30.0
"""A sender that is silent for so long is gone; its request ends, so that it may come back with another."""

HAND_OVER_S = 1.0
"""Bytes of a slow sender wait no longer than this for more of them."""

_BODY = "controlplane.body"
_METHODS = frozenset({"DELETE", "HEAD", "OPTIONS", "PATCH", "POST"})


class StreamedBodies:
    """An ASGI application in front of Django that passes the bodies of uploads on as they come."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if not _is_for_uploads(scope):
            await self._application(scope, receive, send)
            return
        body = StreamedBody(receive, asyncio.get_running_loop())
        await self._application({**scope, "method": _method_of(scope), _BODY: body}, body.receive_nothing, send)


class StreamedBody:
    """A request's body, for a view that runs in a thread of its own."""

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        self._receive = receive
        self._loop = loop
        self._is_complete = False
        self._is_broken = False
        self._nothing_was_received = False

    def read(self, size: int, /) -> bytes:
        """About `size` bytes, or fewer where they come slowly; none at the end. Not for the event loop's own thread.

        Raises:
            ConnectionAbortedError: the sender left, or has been silent for too long.
        """
        try:
            return asyncio.run_coroutine_threadsafe(self._collect(size), self._loop).result()
        except CancelledError:
            raise ConnectionAbortedError("The server is stopping.") from None

    async def receive_nothing(self) -> Message:
        """What Django gets instead: an empty body, and no word of a sender that leaves: that is for the view."""
        if self._nothing_was_received:
            await self._loop.create_future()  # Django cancels this when its answer is sent
        self._nothing_was_received = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _collect(self, size: int) -> bytes:
        pieces: list[bytes] = []
        held = 0
        hand_over_at = self._loop.time() + HAND_OVER_S
        while held < size and not self._is_complete and not self._is_broken:
            patience_s = max(0.0, hand_over_at - self._loop.time()) if held else IDLE_S
            try:
                message = await asyncio.wait_for(self._receive(), patience_s)
            except TimeoutError:
                self._is_broken = not held
                break
            piece = message.get("body", b"")
            self._is_broken = message["type"] != "http.request"
            self._is_complete = not self._is_broken and not message.get("more_body", False)
            pieces.append(piece)
            held += len(piece)
        if self._is_broken and not held:
            raise ConnectionAbortedError("The sender left.")
        return b"".join(pieces)


def body_of(request: Request) -> ByteSource:
    """The body of a request as it arrives; where no `StreamedBodies` stands in front, as Django has it."""
    scope = getattr(request._request, "scope", {})
    return cast(ByteSource, scope.get(_BODY, request._request))


def _is_for_uploads(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    return path == PATHS or path.startswith(f"{PATHS}/")


def _method_of(scope: Scope) -> str:
    """The method, or the one that the protocol's X-HTTP-Method-Override puts in its place."""
    override = dict(scope["headers"]).get(b"x-http-method-override", b"").decode("latin-1").upper()
    return override if override in _METHODS else str(scope["method"])
