"""A worker: the process that carries requests. Started by the agent, which hands it a listening socket and orders."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import socket
import ssl
from collections.abc import Sequence

import uvloop

from controlplane.env import GatewaySettings, gateway_settings
from controlplane.gateway import channel
from controlplane.gateway.channel import Channel, WorkerGauges
from controlplane.gateway.dataplane.plane import DataPlane
from controlplane.gateway.journal import Journal
from controlplane.gateway.journal.format import journals_dir
from controlplane.gateway.logs import configure_logs
from controlplane.gateway.orders import DecodedChange, Orders, decode_changes
from controlplane.gateway.protocol.grpc.server import GrpcServer
from controlplane.gateway.protocol.http.proxies import TrustedProxies
from controlplane.gateway.protocol.http.server import HttpServer
from controlplane.gateway.upstream.pool import UpstreamPool
from controlplane.wire.errors import InvalidError
from controlplane.wire.snapshot import Snapshot, decode_snapshot

logger = logging.getLogger(__name__)

GAUGES_INTERVAL_S = 1.0


class Worker:
    """One process of the gateway, from its first orders to its last request."""

    def __init__(self, settings: GatewaySettings, agent: Channel) -> None:
        self._settings = settings
        self._agent = agent
        self._orders = Orders()
        self._journal = Journal.create(journals_dir(settings.state_dir))
        plane = DataPlane(
            self._orders,
            settings.secrets.read("pepper"),
            self._journal,
            settings.max_orders_age_s,
            held_bytes=settings.max_held_bytes,
            access_log_ratio=settings.access_log_ratio,
        )
        self._plane = plane
        self._tls = _tls_context(settings)
        self._http = HttpServer(plane, UpstreamPool(), TrustedProxies(settings.trusted_proxies))
        self._grpc = GrpcServer(plane)
        self._stopping = asyncio.Event()
        self._first_orders = asyncio.Event()

    async def run(self, http: socket.socket) -> None:
        """Serves until the agent says to stop, or is gone, or a signal comes; then drains."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal's Ctrl-C is the agent's to act on
        beside = [loop.create_task(self._follow()), loop.create_task(self._report())]
        # Not a request before the orders that the agent has: a restarted worker would refuse it.
        await self._first_orders.wait()
        if not self._stopping.is_set():
            await self._grpc.listen(self._settings.host, self._settings.grpc_port)
            await self._http.listen(http, self._tls)
            self._agent.send(channel.READY)
        await self._stopping.wait()
        limit_s = self._settings.drain_s
        await asyncio.gather(self._http.drain(limit_s), self._grpc.drain(limit_s))
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await self._http.close()
        await self._grpc.close()
        self._journal.close()
        self._agent.close()

    async def _follow(self) -> None:
        """Obeys the agent."""
        try:
            while True:
                kind, payload = await self._agent.read()
                if kind == channel.SNAPSHOT:
                    await self._apply(payload)
                elif kind == channel.CONFIRM:
                    self._orders.confirm(channel.unpack_time(payload))
                    self._first_orders.set()
                elif kind == channel.QUIT:
                    break
        except EOFError:
            logger.warning("The agent is gone; finishing what is running.")
        except Exception:
            logger.exception("The worker cannot follow its orders any more and stops.")
        self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        self._first_orders.set()

    async def _apply(self, payload: bytes) -> None:
        """Takes over orders; they are decoded off the loop, so that requests go on meanwhile."""
        try:
            snapshot, changes = await asyncio.to_thread(_decode, payload)
            self._orders.apply(snapshot, changes)
        except InvalidError as error:
            logger.error("Orders were not applied: %s", error.message)  # noqa: TRY400 - a trace says nothing more
            return
        if snapshot.since == 0:
            gc.freeze()  # orders live as long as the process: no collection needs to walk all of them
        self._agent.send(channel.APPLIED, channel.pack_revision(self._orders.revision))

    async def _report(self) -> None:
        while True:
            gauges = WorkerGauges(
                in_flight=self._plane.in_flight,
                connections=len(self._http.connections),
                unreachable=dict(self._plane.router.unreachable),
            )
            self._agent.send(channel.METRICS, channel.pack_gauges(gauges))
            await asyncio.sleep(GAUGES_INTERVAL_S)


def _decode(payload: bytes) -> tuple[Snapshot, list[DecodedChange]]:
    snapshot = decode_snapshot(payload)
    return snapshot, decode_changes(snapshot.entries)


def _tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


async def _serve(settings: GatewaySettings, http_fd: int, agent_fd: int) -> None:
    agent = await Channel.open(socket.socket(fileno=agent_fd))
    http = socket.socket(fileno=http_fd)
    http.setblocking(False)
    await Worker(settings, agent).run(http)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a worker until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.gateway.worker", description=__doc__)
    parser.add_argument("--index", type=int, required=True, help="which of its agent's workers this is")
    parser.add_argument("--http-fd", type=int, required=True, help="the inherited listening socket")
    parser.add_argument("--agent-fd", type=int, required=True, help="the inherited channel to the agent")
    options = parser.parse_args(arguments)
    settings = gateway_settings()
    configure_logs(f"worker-{options.index}", settings.log_level)
    uvloop.run(_serve(settings, options.http_fd, options.agent_fd))


if __name__ == "__main__":
    main()
