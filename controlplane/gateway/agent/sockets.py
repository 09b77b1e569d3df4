"""The sockets a gateway needs, opened before anything else so that a taken port is the first thing one hears of."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass

from controlplane.env import GatewaySettings
from controlplane.wire.errors import ConflictError, InvalidError

logger = logging.getLogger(__name__)

BACKLOG = 4096
_PATIENCE_S = 2.0
"""Workers of an agent that was killed let go of their ports within this time."""


async def open_listener(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket, to be inherited by workers.

    Args:
        port: 0 takes a free one.
        setting: the variable that changes the port, for the error.

    Raises:
        ConflictError: the port is taken. InvalidError: this host has no such address.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise InvalidError(
                    f"Cannot listen on {host}:{port}: {error.strerror}.", code="port.unusable"
                ) from error
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"Port {port} on {host} is taken: stop what listens there, or set {setting} to another port.",
                    code="port.taken",
                ) from error
        logger.warning("A port is taken; waiting in case it is about to be released.", extra={"port": port})
        await asyncio.sleep(0.5)


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets of one gateway.

    Attributes:
        http: inherited by the workers. metrics: the agent's own.
        grpc_port: workers listen there themselves, because a gRPC server cannot inherit a socket; it was free.
    """

    http: socket.socket
    metrics: socket.socket
    grpc_port: int

    @classmethod
    async def open(cls, settings: GatewaySettings) -> Listeners:
        """Opens them all.

        Raises:
            ConflictError: a port is taken. InvalidError: this host has no such address.
        """
        _raise_file_limit()
        with ExitStack() as opened:
            http = opened.enter_context(await open_listener(settings.host, settings.http_port, "GATEWAY_HTTP_PORT"))
            metrics = opened.enter_context(
                await open_listener(settings.metrics_host, settings.metrics_port, "GATEWAY_METRICS_PORT")
            )
            (await open_listener(settings.host, settings.grpc_port, "GATEWAY_GRPC_PORT")).close()
            opened.pop_all()
        return cls(http, metrics, settings.grpc_port)

    def ports(self) -> dict[str, int]:
        """The ports by name."""
        return {
            "http_port": self.http.getsockname()[1],
            "grpc_port": self.grpc_port,
            "metrics_port": self.metrics.getsockname()[1],
        }

    def __enter__(self) -> Listeners:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.metrics.close()


def _raise_file_limit() -> None:
    # Connections are files; workers inherit the limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
