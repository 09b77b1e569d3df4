"""Keeps the worker processes running and talks to them."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from functools import partial

import msgspec

from controlplane.gateway import channel
from controlplane.gateway.agent.backoff import Backoff
from controlplane.gateway.agent.order_book import OrderBook
from controlplane.gateway.channel import Channel, WorkerGauges

logger = logging.getLogger(__name__)

WORKER_COMMAND = (sys.executable, "-m", "controlplane.gateway.worker")

_STEADY_S = 30.0
"""A worker that lived so long is replaced at once when it dies."""
_START_S = 60.0
"""How long a worker may take until it listens."""
_APPLY_S = 30.0
"""How long a worker may take to apply orders; one that does not might go on honouring a revoked key."""
_EXIT_S = 5.0
"""How long a worker may take to exit beyond its time to drain."""
_LONGEST_BACKOFF_S = 10.0


class Worker:
    """One worker's place: the process in it changes, its index does not.

    Attributes:
        ready: whether the process listens.
        applied: the revision its requests see.
        gauges: what it last reported.
        renewed: whether the process was asked to leave so that another takes its place.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: Process | None = None
        self.channel: Channel | None = None
        self.ready = False
        self.renewed = False
        self.applied = 0
        self.gauges = WorkerGauges()

    async def start(self, command: Sequence[str], http: socket.socket, book: OrderBook) -> Channel:
        """Starts the process and hands it the orders there are.

        Raises:
            OSError: the process cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self.process = await asyncio.create_subprocess_exec(
                    *command,
                    *("--index", str(self.index), "--http-fd", str(http.fileno()), "--agent-fd", str(theirs.fileno())),
                    pass_fds=(http.fileno(), theirs.fileno()),
                )
            except OSError:
                ours.close()
                raise
        opened = await Channel.open(ours)
        if book.known:
            opened.send(channel.SNAPSHOT, book.base())
        opened.send(channel.CONFIRM, channel.pack_time(book.confirmed_at_s))
        self.channel = opened  # from here on it gets every step; nothing was awaited since the base was made
        return opened

    def take(self, kind: bytes, payload: bytes) -> None:
        """Notes what a frame from the process says."""
        if kind == channel.READY:
            self.ready = True
            logger.info("A worker is ready.", extra={"worker": self.index})
        elif kind == channel.APPLIED:
            self.applied = channel.unpack_revision(payload)
        elif kind == channel.METRICS:
            self.gauges = channel.unpack_gauges(payload)

    async def leave(self, patience_s: float) -> int:
        """Waits for the process to exit, kills it in the end; its exit status."""
        process = self.process
        if process is None:
            return 0
        try:
            async with asyncio.timeout(patience_s):
                return await process.wait()
        except TimeoutError:
            logger.warning("A worker did not exit in time and is killed.", extra={"worker": self.index})
            self.kill()
            return await process.wait()

    def kill(self) -> None:
        """Ends the process at once, if there is one."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    def vacate(self) -> None:
        """Forgets the process."""
        if self.channel is not None:
            self.channel.close()
        self.channel = None
        self.ready = self.renewed = False
        self.applied = 0
        self.gauges = WorkerGauges()


class WorkerPool:
    """The workers of one gateway: restarts the dead, hands orders to the living.

    Attributes:
        restarts: how often a worker was replaced.
    """

    def __init__(
        self,
        *,
        count: int,
        http: socket.socket,
        book: OrderBook,
        drain_s: float,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self.workers = [Worker(index) for index in range(count)]
        self.restarts = 0
        self._http = http
        self._book = book
        self._drain_s = drain_s
        self._command = command
        self._stopping = asyncio.Event()
        self._news = asyncio.Condition()

    async def run(self) -> None:
        """Keeps the workers running until `drain` stopped them."""
        async with asyncio.TaskGroup() as group:
            for worker in self.workers:
                group.create_task(self._keep(worker))

    @property
    def ready(self) -> int:
        """How many workers listen."""
        return sum(worker.ready for worker in self.workers)

    def send_snapshot(self, payload: bytes) -> None:
        """Hands a step to every worker."""
        self._send(channel.SNAPSHOT, payload)

    def confirm(self, at_s: float) -> None:
        """Tells every worker that its orders were current at that time."""
        self._send(channel.CONFIRM, channel.pack_time(at_s))

    async def all_ready(self) -> None:
        """Returns once every worker listens."""
        async with self._news:
            await self._news.wait_for(lambda: self.ready == len(self.workers))

    async def applied(self, revision: int) -> None:
        """Returns once every worker that serves has applied the revision; one that cannot is replaced."""
        try:
            async with asyncio.timeout(_APPLY_S), self._news:
                await self._news.wait_for(lambda: not self._behind(revision))
        except TimeoutError:
            for worker in self._behind(revision):
                logger.warning("A worker does not apply its orders and is replaced.", extra={"worker": worker.index})
                worker.kill()
                await worker.leave(_EXIT_S)
                worker.vacate()

    async def renew(self) -> None:
        """Replaces every worker, one after the other, each after its running requests.

        Connections that come meanwhile are taken by the others, or wait on the socket that all of them inherit. A new
        process reads the code, the certificate and the secrets as they are then.
        """
        for worker in self.workers:
            before = worker.process
            if worker.channel is None or self._stopping.is_set():
                continue
            logger.info("A worker is renewed.", extra={"worker": worker.index})
            worker.renewed = True
            worker.channel.send(channel.QUIT)
            async with self._news:
                await self._news.wait_for(partial(self._is_renewed, worker, before))

    async def drain(self) -> None:
        """Stops every worker after its running requests; returns when all have exited."""
        self._stopping.set()
        self._send(channel.QUIT)
        await self._notify()
        await asyncio.gather(*(worker.leave(self._drain_s + _EXIT_S) for worker in self.workers))

    def _is_renewed(self, worker: Worker, before: Process | None) -> bool:
        return self._stopping.is_set() or (worker.ready and worker.process is not before)

    def _behind(self, revision: int) -> list[Worker]:
        return [worker for worker in self.workers if worker.ready and worker.applied < revision]

    async def _keep(self, worker: Worker) -> None:
        backoff, early_deaths = Backoff(0.5, _LONGEST_BACKOFF_S), 0
        while True:
            started = time.monotonic()
            if await self._run_once(worker):
                continue
            if self._stopping.is_set():
                return
            self.restarts += 1
            early_deaths += 1
            if time.monotonic() - started > _STEADY_S:
                backoff.succeed()
                early_deaths = 0
            if early_deaths > 1 and await self._stopped_within(backoff.fail()):
                return

    async def _run_once(self, worker: Worker) -> bool:
        """Runs one process of a worker to its end; whether it left because it was asked to make room for another."""
        try:
            opened = await worker.start(self._command, self._http, self._book)
        except OSError as error:
            logger.warning("A worker cannot be started.", extra={"worker": worker.index, "reason": error.strerror})
            return False
        if self._stopping.is_set():
            opened.send(channel.QUIT)
        overdue = asyncio.get_running_loop().call_later(_START_S, _kill_unless_ready, worker)
        try:
            while True:
                worker.take(*await opened.read())
                await self._notify()
        except EOFError:
            pass
        except (msgspec.MsgspecError, struct.error):
            logger.exception("A worker said something unreadable and is replaced.", extra={"worker": worker.index})
            worker.kill()
        finally:
            overdue.cancel()
            renewed = worker.renewed
            worker.vacate()
        await self._notify()
        status = await worker.leave(self._drain_s + _EXIT_S)
        if renewed and status == 0 and not self._stopping.is_set():
            return True
        if not self._stopping.is_set():
            logger.warning("A worker died and is replaced.", extra={"worker": worker.index, "exit_status": status})
        return False

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _stopped_within(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _send(self, kind: bytes, payload: bytes = b"") -> None:
        for worker in self.workers:
            if worker.channel is not None:
                worker.channel.send(kind, payload)


def _kill_unless_ready(worker: Worker) -> None:
    if not worker.ready:
        logger.warning("A worker does not get ready and is replaced.", extra={"worker": worker.index})
        worker.kill()
