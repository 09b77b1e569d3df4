"""Everything a client can do wrong, and the answer it gets."""

import gzip
import time

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from controlplane.wire.keys import generate_key
from controlplane.wire.usage import Cause
from tests.support.gateway import ECHO_NUMBER, Gateway, echo_model, model_entry

_INFER = "/v2/models/echo/infer"
_GOOD = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'


def test_a_request_without_a_right_key_is_refused(gateway: Gateway) -> None:
    expired = gateway.new_key(expires_at_s=time.time() - 1)
    revoked = gateway.new_key()
    gateway.revoke(revoked)
    cases = {
        "key.missing": {},
        "key.invalid": {"X-API-Key": generate_key("test").text},
        "key.expired": expired.header,
    }
    before = len(gateway.records())
    for code, headers in cases.items():
        answer = gateway.request("POST", _INFER, _GOOD, headers)
        assert (answer.status, answer.headers["X-Error-Code"]) == (401, code)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert list(answer.json) == ["error"]
    assert gateway.request("POST", _INFER, _GOOD, revoked.header).headers["X-Error-Code"] == "key.invalid"
    assert [(r.status, r.cause, r.key, r.model) for r in gateway.records()[before:]] == [(401, Cause.GATEWAY, 0, 0)] * 4


def test_a_revoked_key_is_refused_on_a_connection_that_is_open(gateway: Gateway) -> None:
    key = gateway.new_key()
    with gateway.connect() as connection:
        message = b"POST %b HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            _INFER.encode(),
            key.text.encode(),
            len(_GOOD),
            _GOOD,
        )
        connection.sendall(message)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        gateway.revoke(key)
        connection.sendall(message)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_needs_no_key(gateway: Gateway, path: str) -> None:
    assert gateway.request("GET", path).status == 200


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/echo", "/v2/models/echo/config", "/v2/models/echo/ready", "/v2/logging", "/nowhere"]
)
def test_everything_else_needs_one(gateway: Gateway, path: str) -> None:
    assert gateway.request("GET", path).status == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/systemsharedmemory/status", 403),
        ("/v2/cudasharedmemory/region/a/register", 403),
        ("/v2/repository/models/echo/load", 403),
        ("/v2/trace/setting", 403),
        ("/v2/models/echo/trace/setting", 403),
        ("/v2/logging", 403),
        ("/v2/repository/index/more", 403),
        ("/v1/models/echo/nothing", 404),
        ("/v2/models/echo/versions/x/infer", 404),
        ("/nowhere", 404),
    ],
)
def test_what_is_not_served_says_why(gateway: Gateway, path: str, status: int) -> None:
    for method in ("GET", "POST"):
        answer = gateway.request(method, path, b"{}", gateway.new_key().header)
        assert answer.status == status
        assert answer.json["error"]


def test_a_wrong_method_is_refused(gateway: Gateway) -> None:
    header = gateway.new_key().header

    assert gateway.request("GET", _INFER, None, header).status == 405
    assert gateway.request("DELETE", "/v2", None, header).headers["Allow"] == "GET"


def test_a_hidden_model_answers_exactly_like_an_unknown_one(gateway: Gateway) -> None:
    key = gateway.new_key(models=("text",))
    noise = {"X-Request-Id", "X-Gateway-Overhead-Ms", "Content-Length"}
    for method, path in [("POST", "{}/infer"), ("GET", "{}"), ("GET", "{}/ready"), ("POST", "{}/versions/7/infer")]:
        hidden = gateway.request(method, f"/v2/models/{path.format('echo')}", _GOOD, key.header)
        unknown = gateway.request(method, f"/v2/models/{path.format('nope')}", _GOOD, key.header)
        assert hidden.status == unknown.status
        assert hidden.body == unknown.body.replace(b"'nope'", b"'echo'")
        assert [pair for pair in hidden.headers.items() if pair[0] not in noise] == [
            pair for pair in unknown.headers.items() if pair[0] not in noise
        ]


def test_unknown_models_are_refused_in_tritons_words(gateway: Gateway) -> None:
    key = gateway.new_key()

    assert gateway.request("POST", "/v2/models/nope/infer", _GOOD, key.header).json == {
        "error": "Request for unknown model: 'nope' is not found"
    }
    assert gateway.request("POST", "/v2/models/echo/versions/9/infer", _GOOD, key.header).json == {
        "error": "Request for unknown model: 'echo' version 9 is not found"
    }
    assert [(r.status, r.cause) for r in gateway.records(key)] == [(404, Cause.REQUEST)] * 2


def test_a_key_is_held_to_its_scopes(gateway: Gateway) -> None:
    key = gateway.new_key(scopes=("metadata",))

    assert gateway.request("GET", "/v2/models/echo", None, key.header).status == 200
    answer = gateway.request("POST", _INFER, _GOOD, key.header)
    assert (answer.status, answer.headers["X-Error-Code"]) == (403, "key.scope")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"not json", 400, "failed to parse the request JSON buffer"),
        (b'{"inputs":[]}', 400, "expected 1 inputs but got 0 inputs for model 'echo'"),
        (_GOOD.replace(b"FP32", b"INT32"), 400, "data-type is 'INT32', but model 'echo' expects 'FP32'"),
        (_GOOD.replace(b"[1,3]", b"[3,1,1]"), 400, "unexpected shape for input 'x' for model 'echo'"),
        (_GOOD.replace(b"[1,3]", b"[1,2]"), 400, "Shape does not match true shape"),
        (_GOOD.replace(b'"x"', b'"z"'), 400, "'echo'"),
    ],
)
def test_a_wrong_request_is_the_requests_fault_and_its_error_speaks_of_the_public_name(
    gateway: Gateway, body: bytes, status: int, text: str
) -> None:
    key = gateway.new_key()

    answer = gateway.request("POST", _INFER, body, key.header)

    assert answer.status == status
    assert text in answer.json["error"]
    assert "echo.v1" not in answer.json["error"]
    [record] = gateway.records(key)
    assert (record.status, record.cause, record.model, record.version) == (status, Cause.REQUEST, ECHO_NUMBER, 1)


@pytest.mark.parametrize(
    "body",
    [
        _GOOD.replace(b"[1,3]", b"[9223372036854775807,64]"),
        _GOOD.replace(b"[1,3]", b"[1000000000,64]"),
        b"[" * 200_000,
        _GOOD.replace(b"[1,2,3]", b"[" * 100_000 + b"]" * 100_000),
    ],
)
def test_the_requests_that_kill_a_triton_do_no_harm(gateway: Gateway, body: bytes) -> None:
    key = gateway.new_key()

    assert gateway.request("POST", _INFER, body, key.header).status == 400
    packed = {"Content-Encoding": "gzip"} | key.header
    assert gateway.request("POST", _INFER, gzip.compress(body), packed).status == 400
    assert gateway.request("POST", _INFER, _GOOD, key.header).status == 200


def test_a_classification_of_texts_does_no_harm(gateway: Gateway) -> None:
    key = gateway.new_key()
    texts = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"BYTES","data":["a","b"]}],"outputs":[%b]}'
    numbers = _GOOD[:-1] + b',"outputs":[%b]}'
    wish = b'{"name":"y","parameters":{"classification":2}}'

    refused = gateway.request("POST", "/v2/models/text/infer", texts % wish, key.header)
    assert (refused.status, refused.headers["X-Error-Code"]) == (400, "request.not_classifiable")
    classes = gateway.request("POST", _INFER, numbers % wish, key.header).json["outputs"][0]
    assert (classes["datatype"], classes["data"]) == ("BYTES", ["3.000000:2", "2.000000:1"])

    client = triton_grpc.InferenceServerClient(gateway.grpc_address)
    tensor = triton_grpc.InferInput("x", [1, 2], "BYTES")
    tensor.set_data_from_numpy(np.array([["a", "b"]], dtype=object))
    outputs = [triton_grpc.InferRequestedOutput("y", class_count=2)]
    with pytest.raises(InferenceServerException, match="classification is not possible"):
        client.infer("text", [tensor], outputs=outputs, headers=key.header)
    assert client.infer("text", [tensor], headers=key.header).as_numpy("y").tolist() == [[b"a", b"b"]]
    client.close()


def test_a_million_tiny_chunks_do_no_harm(gateway: Gateway) -> None:
    key = gateway.new_key()
    head = f"POST {_INFER} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key.text}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with gateway.connect() as connection:
        connection.sendall(head.encode())
        for _ in range(1000):
            connection.sendall(b"1\r\n \r\n" * 1000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")

    assert [record.status for record in gateway.records(key)] == [400]
    assert gateway.request("POST", _INFER, _GOOD, key.header).status == 200


def test_compressed_bodies_are_bounded_and_checked(gateway: Gateway) -> None:
    key = gateway.new_key()
    gateway.order(model_entry(echo_model(slug="echo", max_body_bytes=100_000)))
    try:
        bomb = gateway.request(
            "POST", _INFER, gzip.compress(bytes(50_000_000)), key.header | {"Content-Encoding": "gzip"}
        )
        broken = gateway.request("POST", _INFER, gzip.compress(_GOOD)[:-4], key.header | {"Content-Encoding": "gzip"})
        unknown = gateway.request("POST", _INFER, _GOOD, key.header | {"Content-Encoding": "br"})
    finally:
        gateway.order(model_entry(echo_model()))

    assert (bomb.status, bomb.headers["X-Error-Code"]) == (413, "request.too_large")
    assert (broken.status, broken.headers["X-Error-Code"]) == (400, "request.bad_compression")
    assert (unknown.status, unknown.headers["Accept-Encoding"]) == (501, "gzip, deflate")
