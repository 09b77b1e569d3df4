"""``POST /v1/models/{id}/predict``: an inference for people who do not want to know of tensors."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import msgspec

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.account import Account
from controlplane.gateway.dataplane.causes import cause_of_http
from controlplane.gateway.dataplane.refusals import upstream_failed
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.shield import CheckedEnvelope, EnterSequence, check_envelope
from controlplane.gateway.protocol.http import answers
from controlplane.gateway.protocol.http.forwarding import MAX_HELD_ANSWER_BYTES, error_text, total
from controlplane.gateway.protocol.http.infer import InferForwarding
from controlplane.gateway.protocol.predict.parameters import checked_parameters
from controlplane.gateway.protocol.predict.values import invalid_field, outputs_of, tensors_of
from controlplane.gateway.upstream.connection import UpstreamConnection
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import decode_card

if TYPE_CHECKING:
    from controlplane.gateway.protocol.http.exchange import Exchange

_FIELDS = frozenset({"inputs", "parameters"})


def check_prediction(text: bytes, route: Route, enter_sequence: EnterSequence) -> CheckedEnvelope:
    """Turns a prediction into the inference that is sent on, which is checked like any other.

    Raises:
        RefusedError: it does not fit the model.
    """
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_field("body", f"is not JSON: {error}") from None
    if not isinstance(document, dict) or "inputs" not in document:
        raise invalid_field("inputs", "is missing")
    for name in document:
        if name not in _FIELDS:
            raise invalid_field(name, "is unknown; a prediction has 'inputs' and 'parameters'")
    parameters = checked_parameters(document.get("parameters"), decode_card(route.model.card).parameters)
    inference: dict[str, Any] = {"inputs": tensors_of(document["inputs"], route.version)}
    if parameters:
        inference["parameters"] = parameters
    return check_envelope(msgspec.json.encode(inference), route, enter_sequence)


class PredictForwarding(InferForwarding):
    """Sends on a prediction as an inference, and answers with what it says."""

    def __init__(self, exchange: Exchange, route: Route, account: Account, enter_sequence: EnterSequence) -> None:
        super().__init__(exchange, route, account, check_prediction, enter_sequence)

    def _open_answer(self, upstream: UpstreamConnection) -> None:
        if not upstream.complete:
            if total(upstream.chunks) > max(MAX_HELD_ANSWER_BYTES, self._route.model.max_body_bytes):
                self._refuse_answer()
            return
        try:
            document = json.loads(b"".join(upstream.take()))  # which reads NaN, as Triton writes it
            outputs = outputs_of(document["outputs"], self._route.version)
        except (ValueError, KeyError, TypeError, IndexError):
            self._refuse_answer()
            return
        started_at = self._exchange.started_at
        answer = {
            "outputs": outputs,
            "model": self._route.model.slug,
            "model_version": self._route.version.semver,
            "metadata": {
                "latency_ms": round((time.perf_counter() - started_at) * 1000, 3),
                "rows": self._account.rows if self._account.batched else 1,
                "request_id": self._exchange.request_id.decode(),
            },
        }
        self._finish_whole(200, answers.JSON_TYPE, msgspec.json.encode(answer), self._cause)

    def _finish_error(self, upstream: UpstreamConnection, body: bytes) -> None:
        message = error_text(body)
        cause = cause_of_http(upstream.status, message)
        text = message or "The model refused the request"
        body = answers.simple_error_body(upstream.status, text, {}, f"model.{'failed' if cause == 1 else 'rejected'}")
        self._finish_whole(upstream.status, answers.JSON_TYPE, body, cause)

    def _refuse_answer(self) -> None:
        self._exchange.refuse(upstream_failed(refusals.BROKEN_ANSWER, "upstream.bad_answer", ErrorKind.UPSTREAM))
