"""Generate and generate_stream: one object in, one out or many, none kept back."""

import gzip
import json
import time
from typing import Any

import httpx
import pytest

from controlplane.wire.usage import Cause
from tests.support.gateway import TOLD_NUMBER, Gateway, wait_for_records
from tests.support.triton import TritonServer

_STREAM = "/v2/models/told/generate_stream"


def _events(body: bytes) -> list[dict[str, Any]]:
    assert body.endswith(b"\n\n")
    return [json.loads(event.removeprefix(b"data: ")) for event in body.split(b"\n\n")[:-1]]


@pytest.mark.parametrize(
    "document",
    [
        {"text_input": "a"},
        {"text_input": "a", "id": 'i"model_name":"told.v1"', "parameters": {"foo": "bar", "n": 1}},
        {"text_input": ["a"], "n": [1], "priority": 1},
    ],
)
def test_an_answer_is_tritons_own_apart_from_the_name(
    gateway: Gateway, echo_triton: TritonServer, document: dict[str, Any]
) -> None:
    body = json.dumps(document).encode()
    direct = httpx.post(f"{echo_triton.http_url}/v2/models/told.v1/generate", content=body)
    key = gateway.new_key()

    answer = gateway.request("POST", "/v2/models/told/generate", body, key.header)

    assert (answer.status, direct.status_code) == (200, 200)
    assert answer.body == direct.content.replace(b'"model_name":"told.v1"', b'"model_name":"told"')
    [record] = gateway.records(key)
    assert (record.status, record.cause, record.model, record.rows) == (200, Cause.OK, TOLD_NUMBER, 1)


def test_every_event_of_a_stream_has_the_public_name(gateway: Gateway) -> None:
    key = gateway.new_key()

    answer = gateway.request("POST", _STREAM, b'{"text_input":"a","n":3}', key.header | {"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Content-Encoding"] is None
    assert _events(answer.body) == [
        {"model_name": "told", "model_version": "1", "text_output": f"a {number}"} for number in range(3)
    ]
    [record] = gateway.records(key)
    assert (record.status, record.cause, record.bytes_out) == (200, Cause.OK, len(answer.body))


def test_events_leave_as_they_come(gateway: Gateway) -> None:
    body = {"text_input": "a", "n": 3, "pause_s": 0.3}
    times: list[float] = []
    with httpx.stream(
        "POST", f"http://{gateway.http_address}{_STREAM}", json=body, headers=gateway.new_key().header
    ) as answer:
        times.extend(time.monotonic() for _ in answer.iter_raw())

    assert len(times) == 3
    assert times[2] - times[0] > 0.4


def test_an_error_within_a_stream_is_the_models_failure(gateway: Gateway) -> None:
    key = gateway.new_key()

    answer = gateway.request("POST", _STREAM, b'{"text_input":"a","n":-2}', key.header)

    assert answer.status == 200
    assert _events(answer.body)[-1] == {"error": "told broke off"}
    [record] = gateway.records(key)
    assert (record.status, record.cause) == (200, Cause.MODEL)


def test_more_than_one_answer_to_generate_is_the_models_failure(gateway: Gateway) -> None:
    key = gateway.new_key()

    answer = gateway.request("POST", "/v2/models/told/generate", b'{"text_input":"a","n":2}', key.header)

    assert list(answer.json) == ["error"]
    assert [record.cause for record in gateway.records(key)] == [Cause.MODEL]


def test_a_client_that_leaves_ends_the_stream(gateway: Gateway) -> None:
    key = gateway.new_key()
    body = {"text_input": "a", "n": 50, "pause_s": 0.1}
    with httpx.stream("POST", f"http://{gateway.http_address}{_STREAM}", json=body, headers=key.header) as answer:
        next(answer.iter_raw())

    [record] = wait_for_records(gateway, key, 1)

    assert (record.status, record.cause) == (499, Cause.CLIENT)
    assert record.duration_us < 3_000_000


@pytest.mark.parametrize("path", ["/v2/models/told/generate", _STREAM])
def test_what_would_kill_a_triton_does_no_harm(gateway: Gateway, path: str) -> None:
    header = gateway.new_key().header

    for body in (b"[" * 200_000, b'{"text_input":' + b"[" * 100_000 + b"]" * 100_000 + b"}"):
        assert gateway.request("POST", path, body, header).status == 400
    assert gateway.request("POST", path, b'{"text_input":"a","shared_memory_region":"x"}', header).status == 403
    packed = gateway.request("POST", path, gzip.compress(b"{}"), header | {"Content-Encoding": "gzip"})
    assert packed.json == {"error": "Unsupported content-encoding, only 'identity' is supported."}
    assert gateway.request("POST", path, b'{"text_input":"a"}', header).status == 200
