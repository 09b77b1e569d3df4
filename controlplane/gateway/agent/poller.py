"""Asks every Triton for its statistics, once per host and not once per worker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import msgspec

from controlplane.gateway.agent.order_book import OrderBook
from controlplane.gateway.metrics import ModelStatistics
from controlplane.gateway.upstream.fetch import fetch
from controlplane.gateway.upstream.pool import UpstreamPool
from controlplane.wire.snapshot import ServerEntry

POLL_EVERY_S = 5.0
_TIMEOUT_S = 4.0
_NS = 1e-9


class _Durations(msgspec.Struct):
    ns: int = 0


class _InferenceStats(msgspec.Struct):
    queue: _Durations = msgspec.field(default_factory=_Durations)
    compute_infer: _Durations = msgspec.field(default_factory=_Durations)


class _ModelStats(msgspec.Struct):
    name: str
    inference_count: int = 0
    execution_count: int = 0
    inference_stats: _InferenceStats = msgspec.field(default_factory=_InferenceStats)


class _Statistics(msgspec.Struct):
    model_stats: list[_ModelStats] = []


_decoder = msgspec.json.Decoder(_Statistics)


class StatisticsPoller:
    """Keeps what each server last said of each version, and the rates since the time before.

    Means over an interval are exact, from two readings of counters: the batch size is requests per execution, and the
    queue's length is the time spent in it per time that passed (Little's law).
    """

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._pool = UpstreamPool()
        self._series: dict[tuple[int, str], ModelStatistics] = {}
        self._read_at: dict[int, float] = {}

    def series(self) -> list[ModelStatistics]:
        """What is known of every version on every server."""
        return list(self._series.values())

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            servers = list(self._book.servers.values())
            await asyncio.gather(*(self.poll(server) for server in servers))
            known = {server.id for server in servers}
            self._series = {key: value for key, value in self._series.items() if key[0] in known}
            await asyncio.sleep(POLL_EVERY_S)

    async def poll(self, server: ServerEntry) -> None:
        """Asks one server; one that does not answer keeps its last counts and shows an empty queue."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            answer = await fetch(self._pool, server, b"/v2/models/stats", _TIMEOUT_S)
            if answer.status == 200:
                self._take(server, _decoder.decode(answer.body).model_stats)
                return
        for key, one in list(self._series.items()):
            if key[0] == server.id:
                self._series[key] = one._replace(batch_size=0.0, queue_length=0.0)

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def _take(self, server: ServerEntry, models: list[_ModelStats]) -> None:
        now = time.monotonic()
        passed_s = now - self._read_at.get(server.id, now)
        self._read_at[server.id] = now
        for model in models:
            named = self._book.versions.get(model.name)
            if named is None:
                continue
            before = self._series.get((server.id, model.name))
            self._series[server.id, model.name] = _statistics(server, named, model, before, passed_s)


def _statistics(
    server: ServerEntry, named: tuple[str, int], model: _ModelStats, before: ModelStatistics | None, passed_s: float
) -> ModelStatistics:
    counts: dict[str, Any] = {
        "inferences": model.inference_count,
        "executions": model.execution_count,
        "queue_s": model.inference_stats.queue.ns * _NS,
        "compute_s": model.inference_stats.compute_infer.ns * _NS,
    }
    now = ModelStatistics(server.name, named[0], named[1], batch_size=0.0, queue_length=0.0, **counts)
    if before is None or passed_s <= 0 or now.inferences < before.inferences:  # the first reading, or it restarted
        return now
    executions = now.executions - before.executions
    return now._replace(
        batch_size=(now.inferences - before.inferences) / executions if executions else 0.0,
        queue_length=max(0.0, now.queue_s - before.queue_s) / passed_s,
    )
