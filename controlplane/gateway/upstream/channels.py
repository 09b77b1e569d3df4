"""gRPC channels to servers."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from controlplane.wire.snapshot import ServerEntry

INT32_MAX = 2**31 - 1

_OPTIONS = (
    ("grpc.max_receive_message_length", INT32_MAX),
    ("grpc.max_send_message_length", INT32_MAX),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_http_proxy", 0),
    # Without it two channels to one address share a connection, and a stall of one is a stall of both.
    ("grpc.use_local_subchannel_pool", 1),
)
_NEVER_SENT = "failed to connect to all addresses"
"""How gRPC's text begins when a call never left this process."""


class UpstreamChannels:
    """One channel per server and process; calls take and give bytes."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls: dict[tuple[str, str], Any] = {}

    def call(self, server: ServerEntry, method: str) -> Any:
        """What calls a method such as ``/inference.GRPCInferenceService/ModelInfer`` of a server."""
        key = (server.grpc, method)
        call = self._calls.get(key)
        if call is None:
            channel = self._channels.get(server.grpc)
            if channel is None:
                channel = self._channels[server.grpc] = grpc.aio.insecure_channel(server.grpc, options=_OPTIONS)
            call = self._calls[key] = channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        return call

    async def close(self) -> None:
        """Closes every channel."""
        for channel in self._channels.values():
            await channel.close(None)
        self._channels.clear()
        self._calls.clear()


_DIED = ("Socket closed", "Connection reset by peer", "recvmsg:", "sendmsg:", "Broken pipe", "End of TCP stream")
"""How gRPC's text begins when a connection ended under a call."""


def died(error: grpc.aio.AioRpcError) -> bool:
    """Whether a server went away with a call unanswered."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and (error.details() or "").startswith(_DIED)


def lacks_version(error: grpc.aio.AioRpcError) -> bool:
    """Whether a server says that it does not have a version ready, so that the call certainly did not run there."""
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return True
    return error.code() is grpc.StatusCode.UNAVAILABLE and "Request for unknown model" in (error.details() or "")


def never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call certainly did not reach its server, so that another may be asked."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and (error.details() or "").startswith(_NEVER_SENT)
