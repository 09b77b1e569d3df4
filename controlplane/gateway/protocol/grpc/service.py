"""Triton's GRPCInferenceService, method by method, as a thin shell around the data plane."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.causes import cause_of_grpc
from controlplane.gateway.dataplane.plane import EXTENSIONS, SERVER_NAME, DataPlane, check_scope, release
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.shield import check_outputs
from controlplane.gateway.dataplane.targets import is_version
from controlplane.gateway.protocol.grpc import messages_pb2 as messages
from controlplane.gateway.protocol.grpc.call import CallMetadata
from controlplane.gateway.protocol.grpc.envelope import address_to, answer_as, configuration_as, read_envelope
from controlplane.gateway.upstream.channels import UpstreamChannels, died, lacks_version, never_sent
from controlplane.wire.errors import GRPC_AS_HTTP, ControlPlaneError, ErrorKind
from controlplane.wire.snapshot import KeyEntry, ServerEntry
from controlplane.wire.usage import Cause, Protocol

logger = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
_PREFIX = f"/{SERVICE}/"

_FORBIDDEN = {
    "RepositoryModelLoad": "Repository control",
    "RepositoryModelUnload": "Repository control",
    "SystemSharedMemoryStatus": "Shared memory",
    "SystemSharedMemoryRegister": "Shared memory",
    "SystemSharedMemoryUnregister": "Shared memory",
    "CudaSharedMemoryStatus": "Shared memory",
    "CudaSharedMemoryRegister": "Shared memory",
    "CudaSharedMemoryUnregister": "Shared memory",
    "TraceSetting": "Trace settings",
    "LogSettings": "Log settings",
}
_STREAM = "ModelStreamInfer"
_STATUS = {code.value[0]: code for code in grpc.StatusCode}

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Unary = Callable[[bytes, Any], Awaitable[bytes]]


class InferenceService(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers the methods that a client may use, and says of every other why not."""

    def __init__(self, plane: DataPlane, channels: UpstreamChannels) -> None:
        self._plane = plane
        self._channels = channels
        served: dict[str, Unary] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelInfer": self._model_infer,
        }
        self._handlers: dict[str, Any] = {
            _PREFIX + name: grpc.unary_unary_rpc_method_handler(method) for name, method in served.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method; None for another service's, which gRPC answers with UNIMPLEMENTED."""
        method: str = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is not None or not method.startswith(_PREFIX):
            return handler
        name = method.removeprefix(_PREFIX)
        refusal = refusals.control_refused(_FORBIDDEN[name]) if name in _FORBIDDEN else refusals.not_served(name)

        async def refuse(_request: bytes, context: Context) -> bytes:
            return await self._answer(context, lambda call: self._refuse(call, refusal))

        async def refuse_stream(_requests: Any, context: Context) -> AsyncIterator[bytes]:
            yield await refuse(b"", context)

        if name == _STREAM:
            return grpc.stream_stream_rpc_method_handler(refuse_stream)
        return grpc.unary_unary_rpc_method_handler(refuse)

    # Questions.

    async def _server_live(self, _request: bytes, _context: Context) -> bytes:
        return messages.ServerLiveResponse(live=True).SerializeToString()

    async def _server_ready(self, _request: bytes, _context: Context) -> bytes:
        try:
            self._plane.check_orders()
        except RefusedError:
            return messages.ServerReadyResponse(ready=False).SerializeToString()
        return messages.ServerReadyResponse(ready=True).SerializeToString()

    async def _server_metadata(self, _request: bytes, context: Context) -> bytes:
        async def answer(call: CallMetadata) -> bytes:
            check_scope(self._plane.authenticate(call.credential), "metadata")
            metadata = messages.ServerMetadataResponse(name=SERVER_NAME, version=release(), extensions=EXTENSIONS)
            return metadata.SerializeToString()

        return await self._answer(context, answer)

    async def _model_ready(self, request: bytes, context: Context) -> bytes:
        async def answer(call: CallMetadata) -> bytes:
            try:
                _, body = await self._ask(request, context, call, "ModelReady")
            except RefusedError as refusal:
                if refusal.kind not in {ErrorKind.NOT_FOUND, ErrorKind.UNAVAILABLE} or not self._plane.orders.known:
                    raise
                return messages.ModelReadyResponse(ready=False).SerializeToString()
            return body

        return await self._answer(context, answer)

    async def _model_metadata(self, request: bytes, context: Context) -> bytes:
        async def answer(call: CallMetadata) -> bytes:
            route, body = await self._ask(request, context, call, "ModelMetadata")
            metadata = messages.ModelMetadataResponse.FromString(body)
            metadata.name = route.model.slug
            asked_for = _read(request).version
            metadata.versions[:] = route.public_versions(asked_for)
            return metadata.SerializeToString()

        return await self._answer(context, answer)

    async def _model_config(self, request: bytes, context: Context) -> bytes:
        async def answer(call: CallMetadata) -> bytes:
            route, body = await self._ask(request, context, call, "ModelConfig")
            return body + configuration_as(route.model.slug)

        return await self._answer(context, answer)

    async def _ask(self, request: bytes, context: Context, call: CallMetadata, method: str) -> tuple[Route, bytes]:
        """Asks a server about a version of a model."""
        key = self._plane.authenticate(call.credential)
        check_scope(key, "metadata")
        asked = _read(request)
        route = self._resolve(key, asked.name, asked.version)
        call.route = route
        named = messages.ModelRequest(name=route.version.triton_name, version=str(route.version.number))
        body = await self._forward(route, method, named.SerializeToString(), context, call)
        return route, body

    async def _refuse(self, call: CallMetadata, refusal: RefusedError) -> bytes:
        self._plane.authenticate(call.credential)
        raise refusal

    # Inference.

    async def _model_infer(self, request: bytes, context: Context) -> bytes:
        account = Account(Protocol.GRPC_V2, time.perf_counter())
        account.bytes_in = len(request)

        async def answer(call: CallMetadata) -> bytes:
            key = self._plane.authenticate(call.credential)
            account.of_key(key)
            check_scope(key, "infer")
            envelope = read_envelope(request)
            route = call.route = self._resolve(key, envelope.model, envelope.version)
            account.of_route(route)
            account.rows = envelope.rows
            if len(request) > route.model.max_body_bytes:
                raise refusals.too_large(route.model.max_body_bytes)
            check_outputs(route, envelope.outputs, envelope.classified)
            self._plane.poison.check(key.number, route.model.number, account.started_at)
            addressed = request + address_to(route.version.triton_name, route.version.number)
            account.forwarded_at = time.perf_counter()
            try:
                body = await self._forward(route, "ModelInfer", addressed, context, call)
            except grpc.aio.AioRpcError as error:
                if died(error):
                    self._plane.poison.died(key.number, route.model.number, time.perf_counter())
                raise
            account.answered_at = time.perf_counter()
            return body + answer_as(route.model.slug)

        return await self._answer(context, answer, account)

    def _resolve(self, key: KeyEntry, name: str, version: str) -> Route:
        if version and not is_version(version):
            raise refusals.invalid(
                f"failed to get model version from specified version string '{version[:64]}', "
                "version should be an integral value > 0",
                "version.malformed",
            )
        return self._plane.router.resolve(key, name, version or None)

    async def _forward(self, route: Route, method: str, request: bytes, context: Context, call: CallMetadata) -> bytes:
        """Sends a request to the best server, and to another only if it certainly did not reach the first."""
        call.limit_s = route.model.timeout_s
        router, tried = self._plane.router, list[int]()
        server = router.pick(route)
        if server is None:
            raise refusals.no_server(route.model.slug, route.version.number)
        while True:
            try:
                return await self._call(server, method, request, context, call)
            except grpc.aio.AioRpcError as error:
                tried.append(server.id)
                another = router.pick(route, tried)
                if lacks_version(error):
                    router.missing(server, route)
                    if another is None:
                        raise
                elif never_sent(error) or died(error):
                    router.failed(server)
                if not (never_sent(error) or lacks_version(error)):
                    raise
            server = another
            if server is None:
                raise refusals.upstream_failed(
                    refusals.UNREACHABLE, "upstream.unreachable", ErrorKind.UNAVAILABLE
                ) from None

    async def _call(
        self, server: ServerEntry, method: str, request: bytes, context: Context, call: CallMetadata
    ) -> bytes:
        remaining = context.time_remaining()
        limit = call.limit_s
        call.deadline_is_clients = remaining is not None and remaining <= limit
        router = self._plane.router
        router.began(server)
        asked_at = time.perf_counter()
        try:
            unary = self._channels.call(server, _PREFIX + method)
            body: bytes = await unary(
                request, timeout=limit if remaining is None else min(remaining, limit), metadata=call.forwarded
            )
            if router.unreachable:
                router.answered(server)
        finally:
            call.upstream_s += time.perf_counter() - asked_at
            router.ended(server)
        return body

    # What every method has in common.

    async def _answer(
        self,
        context: Context,
        answer: Callable[[CallMetadata], Awaitable[bytes]],
        account: Account | None = None,
    ) -> bytes:
        """Runs a method: its answer, or its failure in the form of the protocol, after the record was written."""
        call = CallMetadata(context.invocation_metadata(), time.perf_counter())
        plane = self._plane
        plane.in_flight += 1
        try:
            try:
                body = await answer(call)
            except RefusedError as refusal:
                self._settle(account, refusal.grpc_status, refusal.cause)
                raise
            except grpc.aio.AioRpcError as error:
                self._settle(account, error.code().value[0], _cause(error, call))
                raise
            except asyncio.CancelledError:
                self._settle(account, grpc.StatusCode.CANCELLED.value[0], Cause.CLIENT)
                raise
            except Exception:
                logger.exception("A call failed in the gateway itself.")
                self._settle(account, grpc.StatusCode.INTERNAL.value[0], Cause.GATEWAY)
                raise refusals.internal() from None
            if account is not None:
                account.bytes_out = len(body)
            self._settle(account, 0, Cause.OK)
        except grpc.aio.AioRpcError as error:
            text = error.details() or ""
            await context.abort(error.code(), call.restore(text), call.trailing(plane, "model.failed"))
        except ControlPlaneError as error:
            await context.abort(_STATUS[error.grpc_status], error.message, call.trailing(plane, error.code))
        finally:
            plane.in_flight -= 1
        context.set_trailing_metadata(call.trailing(plane))
        return body

    def _settle(self, account: Account | None, status: int, cause: Cause) -> None:
        if account is not None:
            account.settle(self._plane.journal, GRPC_AS_HTTP[status], cause)


def _read(request: bytes) -> messages.ModelRequest:
    try:
        return messages.ModelRequest.FromString(request)
    except DecodeError:
        raise refusals.invalid("The request cannot be read", "request.malformed") from None


def _cause(error: grpc.aio.AioRpcError, call: CallMetadata) -> Cause:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and call.deadline_is_clients:
        return Cause.CLIENT
    return cause_of_grpc(error.code().value[0])
