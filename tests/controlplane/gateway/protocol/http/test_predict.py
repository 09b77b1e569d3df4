"""The simple API: predictions without tensors, cards of models, and errors in a form of their own."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from controlplane.wire.snapshot import ModelCard, VersionRoute, encode_card
from controlplane.wire.usage import Arm, Cause, Protocol
from tests.support.gateway import ECHO_NUMBER, Answer, Gateway, Key, echo_model, model_entry, orders_for
from tests.support.triton import TritonServer

_CARD = ModelCard(
    title="Echo",
    framework="python",
    parameters={
        "temperature": {"type": "float", "default": 0.7, "min": 0.0, "max": 2.0},
        "max_length": {"type": "integer", "min": 1, "max": 4096},
        "style": {"type": "string", "choices": ["plain", "rich"]},
    },
    created_at="2025-01-01T00:00:00+00:00",
    updated_at="2025-01-02T00:00:00+00:00",
)


@pytest.fixture(scope="module")
def gateway(gateway: Gateway) -> Any:
    gateway.order(model_entry(echo_model(card=encode_card(_CARD))))
    yield gateway
    gateway.order(model_entry(echo_model()))


def _predict(gateway: Gateway, key: Key, body: Any, model: str = "echo") -> Answer:
    return gateway.request("POST", f"/v1/models/{model}/predict", json.dumps(body).encode(), key.header)


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("echo", [[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        ("echo", {"x": [[1.5, 2]]}, [[1.5, 2.0]]),
        ("echo", [1, 2, 3], [[1.0], [2.0], [3.0]]),
        ("text", ["Hello, world!", 'a "b" ü'], [["Hello, world!"], ['a "b" ü']]),
        ("text", [["a", "b"]], [["a", "b"]]),
    ],
)
def test_rows_in_rows_out(gateway: Gateway, model: str, inputs: Any, outputs: Any) -> None:
    answer = _predict(gateway, gateway.new_key(), {"inputs": inputs}, model)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json
    assert document["outputs"] == outputs
    assert (document["model"], document["model_version"]) == (model, "1.0.0")
    assert document["metadata"]["latency_ms"] > 0
    assert document["metadata"]["request_id"] == answer.headers["X-Request-Id"]


def test_a_prediction_is_metered_like_an_inference(gateway: Gateway) -> None:
    key = gateway.new_key()
    _predict(gateway, key, {"inputs": [[1], [2], [3]]})

    [record] = gateway.records(key)

    assert (record.protocol, record.model, record.version, record.rows) == (Protocol.PREDICT, ECHO_NUMBER, 1, 3)
    assert (record.status, record.cause, record.arm) == (200, Cause.OK, Arm.STABLE)


@pytest.mark.parametrize("version", ["2", "v2", "2.0.0"])
def test_a_version_goes_by_its_number_or_its_name_for_people(gateway: Gateway, version: str) -> None:
    key = gateway.new_key()

    assert _predict(gateway, key, {"inputs": [[1]]}, f"echo/versions/{version}").json["model_version"] == "2.0.0"
    assert _predict(gateway, key, {"inputs": [[1]]}, "echo@next").json["model_version"] == "2.0.0"
    missing = _predict(gateway, key, {"inputs": [[1]]}, "echo/versions/9.9.9")
    assert (missing.status, missing.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "field", "issue"),
    [
        ({}, "inputs", "is missing"),
        ({"inputs": 5}, "inputs", "is a list of rows or an object of named fields"),
        ({"inputs": []}, "inputs.x", "is empty"),
        ({"inputs": [[1], [2, 3]]}, "inputs.x", "has rows of different lengths"),
        ({"inputs": [["a"]]}, "inputs.x", "takes numbers"),
        ({"inputs": [[True]]}, "inputs.x", "takes numbers"),
        ({"inputs": {"z": [1]}}, "inputs.z", "is no input of the model; it has x"),
        ({"inputs": {}}, "inputs.x", "is missing"),
        ({"inputs": [[1]], "input": 1}, "input", "is unknown; a prediction has 'inputs' and 'parameters'"),
        ({"inputs": [[1]], "parameters": []}, "parameters", "is an object"),
        ({"inputs": [[1]], "parameters": {"temperature": 3}}, "temperature", "Value must be between 0.0 and 2.0"),
        ({"inputs": [[1]], "parameters": {"temperature": "x"}}, "temperature", "Value must be a number"),
        ({"inputs": [[1]], "parameters": {"max_length": 1.5}}, "max_length", "Value must be a whole number"),
        ({"inputs": [[1]], "parameters": {"style": "odd"}}, "style", "Value must be one of plain, rich"),
        (
            {"inputs": [[1]], "parameters": {"sequence_id": 1}},
            "sequence_id",
            "is no parameter of this model; it has max_length, style, temperature",
        ),
    ],
)
def test_a_wrong_prediction_is_told_which_field_and_why(gateway: Gateway, body: Any, field: str, issue: str) -> None:
    key = gateway.new_key()

    answer = _predict(gateway, key, body)

    assert answer.status == 400
    error = answer.json["error"]
    assert error["code"] == "invalid_request"
    assert error["details"] == {"field": field, "issue": issue, "reason": "predict.invalid"}
    assert [record.cause for record in gateway.records(key)] == [Cause.REQUEST]


def test_declared_parameters_within_their_range_pass(gateway: Gateway) -> None:
    parameters = {"temperature": 1.5, "max_length": 4096, "style": "rich"}

    assert _predict(gateway, gateway.new_key(), {"inputs": [[1]], "parameters": parameters}).status == 200


@pytest.mark.parametrize("body", [b"not json", b"[1]", b"[" * 200_000, b'"\xff"', b""])
def test_a_body_that_is_no_prediction_does_no_harm(gateway: Gateway, body: bytes) -> None:
    key = gateway.new_key()

    answer = gateway.request("POST", "/v1/models/echo/predict", body, key.header)

    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")
    packed = key.header | {"Content-Encoding": "gzip"}
    assert gateway.request("POST", "/v1/models/echo/predict", gzip.compress(body), packed).status == 400


def test_errors_have_the_form_and_the_codes_of_the_simple_api(gateway: Gateway) -> None:
    key, blind = gateway.new_key(), gateway.new_key(scopes=("statistics",))
    body = b'{"inputs":[[1]]}'
    cases = [
        (gateway.request("POST", "/v1/models/echo/predict", body), 401, "unauthorized"),
        (gateway.request("POST", "/v1/models/echo/predict", body, blind.header), 403, "forbidden"),
        (gateway.request("POST", "/v1/models/nope/predict", body, key.header), 404, "not_found"),
        (gateway.request("GET", "/v1/models/nope", None, key.header), 404, "not_found"),
        (gateway.request("GET", "/v1/other", None, key.header), 404, "not_found"),
        (_predict(gateway, key, {"inputs": [[1]] * 100}), 400, "invalid_request"),
    ]
    for answer, status, code in cases:
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        assert set(answer.json["error"]) == {"code", "message", "details"}
        assert answer.headers["X-Error-Code"] == answer.json["error"]["details"]["reason"]


def test_a_model_without_a_server_is_unavailable(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(model_entry(echo_model(servers=())))

    answer = _predict(gateway, gateway.new_key(), {"inputs": [[1]]})

    assert (answer.status, answer.json["error"]["code"]) == (503, "service_unavailable")


def test_a_card_says_what_a_model_is(gateway: Gateway) -> None:
    key = gateway.new_key()

    card = gateway.request("GET", "/v1/models/echo", None, key.header).json

    assert (card["id"], card["version"], card["framework"]) == ("echo", "1.0.0", "python")
    assert card["parameters"] == msgspec.to_builtins(_CARD.parameters)
    assert card["input_schema"]["properties"]["x"] == {
        "type": "array",
        "items": {"type": "number"},
        "datatype": "FP32",
        "shape": [-1, -1],
    }
    assert card["versions"] == ["1.0.0", "2.0.0"]
    assert card["created_at"] == "2025-01-01T00:00:00+00:00"
    assert gateway.request("GET", "/v1/models/echo/versions/v2", None, key.header).json["version"] == "2.0.0"
    only_text = gateway.new_key(models=("text",))
    assert gateway.request("GET", "/v1/models/echo", None, only_text.header).status == 404


def test_orders_that_do_not_tell_the_tensors_leave_only_v2(
    start_gateway: Callable[..., Gateway], echo_triton: TritonServer
) -> None:
    entry = echo_model()
    silent = {1: VersionRoute(1, "1.0.0", "echo.v1", (1,), batched=True)}
    gateway = start_gateway(*orders_for(echo_triton), model_entry(msgspec.structs.replace(entry, versions=silent)))

    answer = _predict(gateway, gateway.new_key(), {"inputs": [[1]]})

    assert (answer.status, answer.json["error"]["details"]["reason"]) == (501, "predict.no_schema")
