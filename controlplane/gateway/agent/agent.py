"""The agent as a whole: starts its parts in order and stops them in order."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from controlplane.env import GatewaySettings
from controlplane.gateway.agent.control import ControlPlane, release
from controlplane.gateway.agent.follower import SnapshotFollower
from controlplane.gateway.agent.order_book import OrderBook
from controlplane.gateway.agent.poller import StatisticsPoller
from controlplane.gateway.agent.shipping import Shipper
from controlplane.gateway.agent.snapshot_file import SnapshotFile
from controlplane.gateway.agent.sockets import Listeners
from controlplane.gateway.agent.state_dir import claim_state_dir
from controlplane.gateway.agent.status_server import Page, StatusServer
from controlplane.gateway.agent.workers import WORKER_COMMAND, WorkerPool
from controlplane.gateway.journal.format import journals_dir
from controlplane.gateway.metrics import CONTENT_TYPE, GatewayCollector, Levels, RequestMetrics, Upstream
from controlplane.wire.signing import Verifier

logger = logging.getLogger(__name__)

_LAST_SHIPPING_S = 5.0


async def run_agent(
    settings: GatewaySettings,
    stop: asyncio.Event,
    *,
    renew: asyncio.Event | None = None,
    worker_command: Sequence[str] = WORKER_COMMAND,
) -> None:
    """Serves until `stop` is set, then lets running requests end and ships what they counted.

    Args:
        renew: replaces the workers one by one each time it is set.

    Raises:
        ConflictError: a port is taken, or another agent uses the state folder.
        FileNotFoundError: a secret is missing.
    """
    with claim_state_dir(settings.state_dir), await Listeners.open(settings) as listeners:
        agent = Agent(settings, listeners, worker_command)
        try:
            await agent.run(stop, renew or asyncio.Event())
        finally:
            agent.close()


class Agent:
    """One gateway on one host."""

    def __init__(self, settings: GatewaySettings, listeners: Listeners, worker_command: Sequence[str]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._draining = False
        self._book = OrderBook()
        self._requests = RequestMetrics()
        token = settings.secrets.read("gateway_token").decode()
        self._control = ControlPlane(settings.control_url, gateway=settings.name, token=token)
        self._shipper = Shipper(
            journals_dir(settings.state_dir), self._control, gateway=settings.name, measure=self._requests.absorb
        )
        self._pool = WorkerPool(
            count=settings.workers,
            http=listeners.http,
            book=self._book,
            drain_s=settings.drain_s,
            command=worker_command,
        )
        self._follower = SnapshotFollower(
            self._control,
            Verifier(settings.secrets.read("snapshot_public.pem")),
            self._book,
            SnapshotFile(settings.state_dir / "snapshot.lkg"),
            self._pool,
        )
        self._poller = StatisticsPoller(self._book)
        self._server = StatusServer({"/metrics": self._metrics, "/ready": self._ready, "/live": self._live})

    async def run(self, stop: asyncio.Event, renew: asyncio.Event) -> None:
        """Runs every part until `stop` is set; the parts that requests need end last."""
        self._shipper.prepare()
        self._follower.restore()
        await self._server.start(self._listeners.metrics)
        logger.info("The gateway starts.", extra={"release": release(), **self._listeners.ports()})
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pool.run())
            duties = [group.create_task(self._follower.run()), group.create_task(self._shipper.run())]
            duties += [group.create_task(self._renew_when(renew)), group.create_task(self._poller.run())]
            await stop.wait()
            logger.info("The gateway stops: it takes no new requests and finishes those it has.")
            self._draining = True
            self._listeners.http.close()
            await self._pool.drain()
            for duty in duties:
                duty.cancel()
        await self._shipper.ship_rest(_LAST_SHIPPING_S)
        logger.info("The gateway has stopped.")

    async def _renew_when(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            await self._pool.renew()

    def close(self) -> None:
        """Lets go of files and connections."""
        self._poller.close()
        self._server.close()
        self._control.close()
        self._shipper.close()

    def _age_s(self) -> float:
        return max(0.0, time.time() - self._book.confirmed_at_s) if self._book.known else math.inf

    def _metrics(self) -> Page:
        self._shipper.observe()
        scrape = GatewayCollector(
            self._requests, self._levels(), self._book.model_names, self._poller.series(), self._book.load_events
        )
        return Page(HTTPStatus.OK, CONTENT_TYPE, scrape.render())

    def _levels(self) -> Levels:
        gauges = [worker.gauges for worker in self._pool.workers]
        unreachable = {server for gauge in gauges for server in gauge.unreachable}
        return Levels(
            snapshot_revision=self._book.revision,
            snapshot_age_s=self._age_s(),
            workers=len(self._pool.workers),
            workers_ready=self._pool.ready,
            worker_restarts=self._pool.restarts,
            in_flight=sum(gauge.in_flight for gauge in gauges),
            connections=sum(gauge.connections for gauge in gauges),
            unshipped_records=self._shipper.unshipped,
            shipped_records=self._shipper.records,
            upstreams=[
                Upstream(server.name, server.pool, server.id not in unreachable)
                for server in self._book.servers.values()
            ],
        )

    def _ready(self) -> Page:
        trouble = self._why_not_ready()
        return self._status(HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK, trouble)

    def _live(self) -> Page:
        return self._status(HTTPStatus.OK, self._why_not_ready())

    def _why_not_ready(self) -> str:
        if self._draining:
            return "stopping"
        if not self._book.known:
            return "no orders from the control plane yet"
        if not self._pool.ready:
            return "no worker listens"
        limit_s = self._settings.max_orders_age_s
        if limit_s is not None and self._age_s() > limit_s:
            return "the orders are older than GATEWAY_MAX_ORDERS_AGE_S"
        return ""

    def _status(self, status: HTTPStatus, trouble: str) -> Page:
        known = self._book.known
        body = {
            "ready": not trouble,
            "reason": trouble,
            "release": release(),
            "orders": {"revision": self._book.revision, "age_s": round(self._age_s(), 3) if known else None},
            "workers": {
                "configured": len(self._pool.workers),
                "ready": self._pool.ready,
                "restarts": self._pool.restarts,
            },
            "usage": {"unshipped_records": self._shipper.unshipped},
        }
        return Page(status, "application/json", msgspec.json.encode(body))
