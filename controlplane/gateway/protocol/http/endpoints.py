"""What each endpoint of Triton's protocol does with a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.plane import EXTENSIONS, SERVER_NAME, check_scope, release
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.targets import Endpoint, Target, parse_target
from controlplane.gateway.protocol.http import answers
from controlplane.gateway.protocol.http.infer import InferForwarding
from controlplane.gateway.protocol.http.query import QueryForwarding
from controlplane.wire.errors import ErrorKind
from controlplane.wire.usage import Cause, Protocol

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange

_READS = frozenset({b"GET", b"HEAD"})
_SERVER_METADATA = msgspec.json.encode({"name": SERVER_NAME, "version": release(), "extensions": EXTENSIONS})


def begin(exchange: Exchange) -> None:
    """Answers a request, or starts what will.

    Raises:
        RefusedError: the request may not be served.
    """
    target = parse_target(exchange.head.url)
    if target.endpoint is Endpoint.INFER:
        _begin_infer(exchange, target)
    elif target.endpoint is Endpoint.UNKNOWN:
        exchange.server.plane.authenticate(exchange.head.credential)
        raise RefusedError("Not Found", kind=ErrorKind.NOT_FOUND, code="endpoint.not_found", cause=Cause.REQUEST)
    elif target.endpoint is Endpoint.FORBIDDEN:
        exchange.server.plane.authenticate(exchange.head.credential)
        raise refusals.control_refused(target.what)
    elif target.endpoint is Endpoint.NOT_SERVED:
        exchange.server.plane.authenticate(exchange.head.credential)
        raise refusals.not_served(target.what)
    else:
        _begin_read(exchange, target)


def _begin_infer(exchange: Exchange, target: Target) -> None:
    head, plane = exchange.head, exchange.server.plane
    if head.method != b"POST":
        raise _method_not_allowed(b"POST")
    account = exchange.account = Account(Protocol.HTTP_V2, exchange.started_at)
    key = plane.authenticate(head.credential)
    account.of_key(key)
    check_scope(key, "infer")
    route = exchange.route = plane.router.resolve(key, target.model, target.version)
    account.of_route(route)
    exchange.body.limit_bytes = route.model.max_body_bytes
    exchange.body.check_announced()
    exchange.forwarding = InferForwarding(exchange, route, account)
    exchange.forwarding.advance()


def _begin_read(exchange: Exchange, target: Target) -> None:
    head, plane = exchange.head, exchange.server.plane
    if head.method not in _READS:
        raise _method_not_allowed(b"GET")
    if target.endpoint is Endpoint.LIVE:
        exchange.answer(200, b"")
        return
    if target.endpoint is Endpoint.READY:
        plane.check_orders()
        exchange.answer(200, b"")
        return
    key = plane.authenticate(head.credential)
    check_scope(key, "metadata")
    if target.endpoint is Endpoint.SERVER_METADATA:
        exchange.answer(200, _SERVER_METADATA, answers.JSON_TYPE)
        return
    try:
        route = exchange.route = plane.router.resolve(key, target.model, target.version)
    except RefusedError as refusal:
        raise _as_readiness(refusal) if target.endpoint is Endpoint.MODEL_READY else refusal from None
    exchange.forwarding = QueryForwarding(exchange, route, target)
    exchange.forwarding.advance()


def _as_readiness(refusal: RefusedError) -> RefusedError:
    """Triton calls a model that is not there not ready."""
    return RefusedError("Model version not ready", kind=ErrorKind.INVALID, code=refusal.code, cause=refusal.cause)


def _method_not_allowed(allowed: bytes) -> RefusedError:
    return RefusedError(
        "Method Not Allowed",
        kind=ErrorKind.INVALID,
        code="endpoint.method_not_allowed",
        cause=Cause.REQUEST,
        status=405,
        headers=(b"Allow: %b\r\n" % allowed,),
    )
