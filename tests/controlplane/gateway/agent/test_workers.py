import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.gateway.agent import workers
from controlplane.gateway.agent.order_book import OrderBook
from controlplane.gateway.agent.workers import WorkerPool

MUTE = """
import socket, sys
agent = socket.socket(fileno=int(sys.argv[sys.argv.index("--agent-fd") + 1]))
agent.sendall(b"\\x00\\x00\\x00\\x00R")
while agent.recv(4096):
    pass
"""
CRASHING = "raise SystemExit(3)"
NONSENSE = MUTE.replace("\\x00R", "\\x00A")
SILENT = MUTE.replace("agent.sendall", "bytes")
STUBBORN = MUTE + "import time; time.sleep(60)"


@asynccontextmanager
async def running(program: str, *, drain_s: float = 0.1) -> AsyncIterator[WorkerPool]:
    with socket.create_server(("127.0.0.1", 0)) as http:
        command = (sys.executable, "-S", "-c", program)
        pool = WorkerPool(count=1, http=http, book=OrderBook(), drain_s=drain_s, command=command)
        task = asyncio.create_task(pool.run())
        try:
            yield pool
        finally:
            pool.workers[0].kill()
            await pool.drain()
            await task


async def restarted(pool: WorkerPool, times: int) -> None:
    async with asyncio.timeout(10):
        while pool.restarts < times:  # noqa: ASYNC110 - the pool counts, it does not announce
            await asyncio.sleep(0.01)


async def test_a_worker_that_does_not_apply_its_orders_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_APPLY_S", 0.2)
    async with running(MUTE) as pool:
        await pool.all_ready()
        first = pool.workers[0].process
        await pool.applied(0)
        assert pool.restarts == 0
        await pool.applied(1)
        await restarted(pool, 1)
        assert first is not None
        assert first.returncode == -9


async def test_a_worker_that_crashes_at_once_is_tried_again_with_growing_waits() -> None:
    async with running(CRASHING) as pool:
        loop = asyncio.get_running_loop()
        times = []
        for count in range(1, 4):
            await restarted(pool, count)
            times.append(loop.time())
        assert times[2] - times[1] > 0.3
        assert pool.ready == 0


async def test_a_worker_that_talks_nonsense_is_replaced() -> None:
    async with running(NONSENSE) as pool:
        await restarted(pool, 1)


async def test_a_worker_that_never_listens_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START_S", 0.2)
    async with running(SILENT) as pool:
        await restarted(pool, 1)


async def test_a_worker_that_does_not_exit_is_killed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_EXIT_S", 0.2)
    async with running(STUBBORN) as pool:
        await pool.all_ready()
        process = pool.workers[0].process
        pool.workers[0].vacate()
        await pool.drain()
        assert process is not None
        assert process.returncode == -9
