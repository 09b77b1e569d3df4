"""The gRPC side of a worker."""

from __future__ import annotations

import grpc
import grpc.aio

from controlplane.gateway.dataplane.plane import DataPlane
from controlplane.gateway.protocol.grpc.service import InferenceService
from controlplane.gateway.upstream.channels import INT32_MAX, UpstreamChannels

_OPTIONS = (
    # Each worker binds the port itself: a gRPC server cannot inherit a socket.
    ("grpc.so_reuseport", 1),
    ("grpc.max_receive_message_length", INT32_MAX),
    ("grpc.max_send_message_length", INT32_MAX),
    # Clients may keep a quiet connection alive by a ping every 10 s and more without being told off.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 9000),
)


class GrpcServer:
    """Serves the inference service of one process."""

    def __init__(self, plane: DataPlane) -> None:
        self._channels = UpstreamChannels()
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((InferenceService(plane, self._channels),))

    async def listen(self, host: str, port: int) -> None:
        """Starts to accept.

        Raises:
            RuntimeError: the port is taken by somebody else.
        """
        self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await self._server.start()

    async def drain(self, limit_s: float) -> None:
        """Tells clients to go elsewhere, and returns when every call is answered or the time is over."""
        await self._server.stop(limit_s)

    async def close(self) -> None:
        """Closes the channels to the servers."""
        await self._channels.close()
