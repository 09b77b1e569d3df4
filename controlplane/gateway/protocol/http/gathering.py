"""Answers that are put together from the orders, or from what several servers say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.statistics import add_up, under_public_name
from controlplane.gateway.protocol.http import answers
from controlplane.gateway.upstream.fetch import fetch
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import ModelEntry, ServerEntry, VersionRoute

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange
    from controlplane.gateway.protocol.http.server import HttpServer

MAX_QUESTION_BYTES = 64 * 1024
STATISTICS_TIMEOUT_S = 5.0
_statistics_decoder = msgspec.json.Decoder(dict[str, list[dict[str, Any]]])

Pair = tuple[ModelEntry, VersionRoute]


class Gathering:
    """Answers with the JSON that a coroutine comes to; a body that came with the question is not read."""

    def __init__(self, exchange: Exchange, work: Coroutine[Any, Any, Any]) -> None:
        self._exchange = exchange
        self._task = exchange.server.spawn(self._run(work))

    def advance(self) -> None:
        """Drops what came of a body."""
        self._exchange.body.chunks.clear()

    def check(self, now: float) -> None:
        """The questions to the servers have limits of their own."""

    def read_on(self, reading: bool) -> None:
        """The answer is written in one go."""

    def release(self) -> None:
        """Asks no more once nobody waits."""
        if self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            self._exchange.answer(200, msgspec.json.encode(await work), answers.JSON_TYPE)
        except RefusedError as refusal:
            self._exchange.refuse(refusal)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client gets an answer
            self._exchange.fail(error)


class Collecting:
    """Answers with the JSON that a function makes of a small body."""

    def __init__(self, exchange: Exchange, answer: Callable[[bytes], Any]) -> None:
        self._exchange = exchange
        self._answer = answer

    def advance(self) -> None:
        """Waits for the rest, or answers.

        Raises:
            RefusedError: the body is too large, or not what it should be.
        """
        body = self._exchange.body
        if body.received_bytes > MAX_QUESTION_BYTES:
            raise refusals.too_large(MAX_QUESTION_BYTES)
        if body.complete:
            answer = self._answer(b"".join(body.chunks))
            self._exchange.answer(200, msgspec.json.encode(answer), answers.JSON_TYPE)

    def check(self, now: float) -> None:
        """The client's time limits are the exchange's business."""

    def read_on(self, reading: bool) -> None:
        """The answer is written in one go."""

    def release(self) -> None:
        """There is nothing to let go of."""


def index_of(models: list[ModelEntry], body: bytes) -> list[dict[str, str]]:
    """The repository index as far as these models go, from the orders alone.

    Raises:
        RefusedError: the body is not the JSON object that it may be.
    """
    try:
        wish = msgspec.json.decode(body, type=dict[str, Any]) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refusals.invalid(f"failed to parse the request JSON buffer: {error}", "request.not_json") from None
    entries = []
    for model in models:
        for number, version in sorted(model.versions.items()):
            if version.servers:
                entries.append({"name": model.slug, "version": str(number), "state": "READY"})
            elif wish.get("ready") is not True:
                reason = "no server has it ready"
                entry = {"name": model.slug, "version": str(number), "state": "UNAVAILABLE", "reason": reason}
                entries.append(entry)
    return entries


async def statistics_of(server: HttpServer, pairs: list[Pair]) -> dict[str, Any]:
    """The statistics of some versions, one entry for each, added up over the servers that have it ready.

    Raises:
        RefusedError: no server at all answers.
    """
    every = {server_id for _, version in pairs for server_id in version.servers}
    targets = [one for one in server.plane.orders.servers.values() if one.id in every]
    if len(pairs) == 1:
        _, version = pairs[0]
        path = f"/v2/models/{version.triton_name}/versions/{version.number}/stats"
    else:
        path = "/v2/models/stats"
    answered = await asyncio.gather(*(_ask(server, target, path.encode()) for target in targets))
    if targets and all(entries is None for entries in answered):
        raise refusals.upstream_failed(refusals.UNREACHABLE, "upstream.unreachable", ErrorKind.UNAVAILABLE)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for entries in answered:
        for entry in entries or ():
            by_name.setdefault(entry.get("name", ""), []).append(entry)
    return {
        "model_stats": [
            under_public_name(add_up(by_name[version.triton_name]), model.slug, version.number)
            for model, version in pairs
            if version.triton_name in by_name
        ]
    }


async def _ask(server: HttpServer, target: ServerEntry, path: bytes) -> list[dict[str, Any]] | None:
    try:
        answer = await fetch(server.pool, target, path, STATISTICS_TIMEOUT_S)
        return _statistics_decoder.decode(answer.body).get("model_stats", []) if answer.status == 200 else None
    except (OSError, msgspec.DecodeError):
        return None
