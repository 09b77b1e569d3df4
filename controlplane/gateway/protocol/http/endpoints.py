"""What each endpoint does with a request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.plane import HTTP_EXTENSIONS, SERVER_NAME, check_scope, release
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.shield import EnterSequence, check_envelope
from controlplane.gateway.dataplane.targets import Endpoint, Target, parse_target
from controlplane.gateway.protocol.http import answers
from controlplane.gateway.protocol.http.gathering import Collecting, Gathering, index_of, statistics_of
from controlplane.gateway.protocol.http.generate import GenerateForwarding
from controlplane.gateway.protocol.http.infer import InferForwarding
from controlplane.gateway.protocol.http.predict import PredictForwarding
from controlplane.gateway.protocol.http.query import QueryForwarding
from controlplane.gateway.protocol.predict.cards import card_of, summary_of
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import KeyEntry
from controlplane.wire.usage import Cause, Protocol

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange

_READS = frozenset({b"GET", b"HEAD"})
_METERED = frozenset({Endpoint.GENERATE, Endpoint.GENERATE_STREAM, Endpoint.PREDICT})
_SERVER_METADATA = msgspec.json.encode({"name": SERVER_NAME, "version": release(), "extensions": HTTP_EXTENSIONS})


def begin(exchange: Exchange) -> None:
    """Answers a request, or starts what will.

    Raises:
        RefusedError: the request may not be served.
    """
    target = parse_target(exchange.head.url)
    # The hash of an enum's member costs more than asking for the usual one first.
    if target.endpoint is Endpoint.INFER or target.endpoint in _METERED:
        _begin_metered(exchange, target)
    elif target.endpoint is Endpoint.UNKNOWN:
        exchange.server.plane.authenticate(exchange.head.credential)
        raise RefusedError("Not Found", kind=ErrorKind.NOT_FOUND, code="endpoint.not_found", cause=Cause.REQUEST)
    elif target.endpoint is Endpoint.FORBIDDEN:
        exchange.server.plane.authenticate(exchange.head.credential)
        raise refusals.control_refused(target.what)
    elif target.endpoint is Endpoint.INDEX:
        _begin_index(exchange)
    else:
        _begin_read(exchange, target)


# What is metered.


def _begin_metered(exchange: Exchange, target: Target) -> None:
    head, plane, endpoint = exchange.head, exchange.server.plane, target.endpoint
    if head.method != b"POST":
        raise _method_not_allowed(b"POST")
    protocol = Protocol.PREDICT if endpoint is Endpoint.PREDICT else Protocol.HTTP_V2
    account = exchange.account = Account(protocol, exchange.started_at)
    key = plane.authenticate(head.credential)
    account.of_key(key)
    check_scope(key, "infer")
    version = target.version
    if endpoint is Endpoint.PREDICT and version is not None:
        version = plane.router.number_of(key, target.model, version)
    route = exchange.route = plane.router.resolve(key, target.model, version)
    account.of_route(route)
    plane.poison.check(key.number, route.model.number, exchange.started_at)
    exchange.body.expect(route.model.max_body_bytes, plane.held)
    enter_sequence = partial(plane.sequences.enter, key.organisation)
    if endpoint is Endpoint.INFER:
        exchange.forwarding = InferForwarding(exchange, route, account, check_envelope, enter_sequence)
    elif endpoint is Endpoint.PREDICT:
        exchange.body.is_json()
        exchange.forwarding = PredictForwarding(exchange, route, account, enter_sequence)
    else:
        exchange.forwarding = _generate(exchange, route, account, enter_sequence, endpoint is Endpoint.GENERATE_STREAM)
    exchange.forwarding.advance()


def _generate(
    exchange: Exchange, route: Route, account: Account, enter_sequence: EnterSequence, streams: bool
) -> GenerateForwarding:
    if exchange.head.encoding:
        raise refusals.invalid(
            "Unsupported content-encoding, only 'identity' is supported.", "request.unsupported_encoding"
        )
    exchange.body.is_json()
    return GenerateForwarding(exchange, route, account, enter_sequence, streams=streams)


# What is not.


def _begin_index(exchange: Exchange) -> None:
    plane = exchange.server.plane
    if exchange.head.method != b"POST":
        raise _method_not_allowed(b"POST")
    key = plane.authenticate(exchange.head.credential)
    check_scope(key, "metadata")
    exchange.forwarding = Collecting(exchange, partial(index_of, plane.visible_models(key)))
    exchange.forwarding.advance()


def _begin_read(exchange: Exchange, target: Target) -> None:
    head, plane, endpoint = exchange.head, exchange.server.plane, target.endpoint
    if head.method not in _READS:
        raise _method_not_allowed(b"GET")
    if endpoint in {Endpoint.LIVE, Endpoint.READY}:
        if endpoint is Endpoint.READY:
            plane.check_orders()
        exchange.answer(200, b"")
        return
    key = plane.authenticate(head.credential)
    check_scope(key, _SCOPES.get(endpoint, "metadata"))
    _READ_BY.get(endpoint, _begin_query)(exchange, target, key)


def _server_metadata(exchange: Exchange, _target: Target, _key: KeyEntry) -> None:
    exchange.answer(200, _SERVER_METADATA, answers.JSON_TYPE)


def _begin_query(exchange: Exchange, target: Target, key: KeyEntry) -> None:
    try:
        route = exchange.route = exchange.server.plane.router.resolve(key, target.model, target.version)
    except RefusedError as refusal:
        raise _as_readiness(refusal) if target.endpoint is Endpoint.MODEL_READY else refusal from None
    exchange.forwarding = QueryForwarding(exchange, route, target)
    exchange.forwarding.advance()


def _model_statistics(exchange: Exchange, target: Target, key: KeyEntry) -> None:
    route = exchange.server.plane.router.resolve(key, target.model, target.version)
    one_version = target.version is not None or "@" in target.model
    versions = [route.version] if one_version else [version for _, version in sorted(route.model.versions.items())]
    pairs = [(route.model, version) for version in versions if version.servers]
    exchange.forwarding = Gathering(exchange, statistics_of(exchange.server, pairs))


def _all_statistics(exchange: Exchange, _target: Target, key: KeyEntry) -> None:
    models = exchange.server.plane.visible_models(key)
    pairs = [(model, version) for model in models for _, version in sorted(model.versions.items()) if version.servers]
    exchange.forwarding = Gathering(exchange, statistics_of(exchange.server, pairs))


def _card(exchange: Exchange, target: Target, key: KeyEntry) -> None:
    router = exchange.server.plane.router
    version = target.version and router.number_of(key, target.model, target.version)
    route = exchange.route = router.resolve(key, target.model, version)
    exchange.answer(200, msgspec.json.encode(card_of(route.model, route.version)), answers.JSON_TYPE)


def _cards(exchange: Exchange, _target: Target, key: KeyEntry) -> None:
    models: list[Any] = [summary_of(model) for model in exchange.server.plane.visible_models(key)]
    exchange.answer(200, msgspec.json.encode({"models": models}), answers.JSON_TYPE)


_SCOPES = {Endpoint.MODEL_STATISTICS: "statistics", Endpoint.ALL_STATISTICS: "statistics"}
_READ_BY: dict[Endpoint, Callable[[Exchange, Target, KeyEntry], None]] = {
    Endpoint.SERVER_METADATA: _server_metadata,
    Endpoint.MODEL_STATISTICS: _model_statistics,
    Endpoint.ALL_STATISTICS: _all_statistics,
    Endpoint.CARD: _card,
    Endpoint.CARDS: _cards,
}


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
