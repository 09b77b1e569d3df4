"""Inference over HTTP, held against what the same Triton answers when asked directly."""

import gzip
import json
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton_http

from controlplane.wire.usage import Arm, Cause, Protocol
from tests.support.gateway import ECHO_NUMBER, Gateway
from tests.support.triton import TritonServer

_JSON = (
    b'{"id":"a\\"model_name\\":\\"echo.v1","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}'
)
_NAN = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[NaN,Infinity,-Infinity]}]}'


def _binary(values: np.ndarray[Any, Any], **output: Any) -> tuple[bytes, dict[str, str]]:
    """A request with its tensor in binary form, and the header that says where it begins."""
    data = values.tobytes()
    tensor = {"name": "x", "shape": values.shape, "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    text = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": output}]}).encode()
    return text + data, {"Inference-Header-Content-Length": str(len(text))}


def _direct(triton: TritonServer, model: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{triton.http_url}/v2/models/{model}/infer", content=body, headers=headers, trust_env=False)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(_JSON, {}, id="json"),
        pytest.param(_NAN, {}, id="json with NaN"),
        pytest.param(*_binary(np.ones((2, 3), np.float32), binary_data=True), id="binary"),
        pytest.param(*_binary(np.ones((2, 3), np.float32), binary_data=False), id="binary in, json out"),
        pytest.param(*_binary(np.ones((1, 300_000), np.float32), binary_data=True), id="a large binary"),
        pytest.param(*_binary(np.ones((1, 0), np.float32), binary_data=True), id="an empty tensor"),
        pytest.param(
            np.ones(5, np.float32).tobytes(),
            {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"},
            id="raw binary",
        ),
        pytest.param(gzip.compress(_JSON), {"Content-Encoding": "gzip"}, id="gzip"),
        pytest.param(zlib.compress(_JSON), {"Content-Encoding": "deflate"}, id="deflate"),
    ],
)
def test_an_answer_is_tritons_own_apart_from_the_name(
    gateway: Gateway, echo_triton: TritonServer, body: bytes, headers: dict[str, str]
) -> None:
    direct = _direct(echo_triton, "echo.v1", body, headers)
    key = gateway.new_key()

    answer = gateway.request("POST", "/v2/models/echo/infer", body, headers | key.header)

    assert direct.status_code == answer.status == 200
    assert answer.body == direct.content.replace(b'"model_name":"echo.v1"', b'"model_name":"echo"', 1)
    shift = len(answer.body) - len(direct.content)
    assert shift == -len(".v1")
    assert answer.headers["Content-Type"] == direct.headers["Content-Type"]
    if length := direct.headers.get("Inference-Header-Content-Length"):
        assert int(answer.headers["Inference-Header-Content-Length"]) == int(length) + shift
    [record] = gateway.records(key)
    assert (record.status, record.cause, record.protocol, record.arm) == (200, Cause.OK, Protocol.HTTP_V2, Arm.STABLE)
    assert (record.model, record.version) == (ECHO_NUMBER, 1)
    assert (record.bytes_in, record.bytes_out) == (len(body), len(answer.body))
    assert 0 < record.upstream_us <= record.duration_us


def test_a_compressed_binary_request_counts_its_json_after_inflating(gateway: Gateway) -> None:
    body, headers = _binary(np.arange(6, dtype=np.float32).reshape(2, 3), binary_data=False)
    headers |= {"Content-Encoding": "gzip"} | gateway.new_key().header

    answer = gateway.request("POST", "/v2/models/echo/infer", gzip.compress(body), headers)

    assert answer.json["outputs"][0]["data"] == [0, 1, 2, 3, 4, 5]


def test_tritonclient_speaks_to_the_gateway_as_to_triton(gateway: Gateway) -> None:
    key = gateway.new_key()
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    text = np.array([["a,b", 'c"d', "[[["]], dtype=object)
    with triton_http.InferenceServerClient(gateway.http_address) as client:
        for binary in (True, False):
            echoed = _infer(client, "echo@next", values, "FP32", binary, key.header)
            assert echoed.as_numpy("y").tolist() == values.tolist()
            assert echoed.get_response()["model_name"] == "echo"
            assert echoed.get_response()["model_version"] == "2"
            strings = _infer(client, "text", text, "BYTES", binary, key.header).as_numpy("y")
            assert [value.decode() if isinstance(value, bytes) else value for value in strings[0]] == text[0].tolist()

        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("echo", headers=key.header)
        assert client.is_model_ready("echo", "2", headers=key.header)
        assert not client.is_model_ready("echo", "3", headers=key.header)
        assert client.get_server_metadata(headers=key.header)["name"] == "triton"
        assert client.get_model_metadata("echo", headers=key.header)["versions"] == ["1", "2"]
        assert client.get_model_metadata("echo", "2", headers=key.header)["versions"] == ["2"]
        assert client.get_model_config("echo", headers=key.header)["name"] == "echo"


def _infer(
    client: Any, model: str, values: np.ndarray[Any, Any], dtype: str, binary: bool, headers: dict[str, str]
) -> Any:
    tensor = triton_http.InferInput("x", list(values.shape), dtype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    outputs = [triton_http.InferRequestedOutput("y", binary_data=binary)]
    return client.infer(model, [tensor], outputs=outputs, headers=headers, request_id="r" * 400)


@pytest.mark.parametrize(
    ("name", "version", "arm"),
    [
        ("echo", 1, Arm.STABLE),
        ("echo/versions/1", 1, Arm.PINNED),
        ("echo/versions/2", 2, Arm.PINNED),
        ("echo@next", 2, Arm.PINNED),
        ("echo%40next", 2, Arm.PINNED),
    ],
)
def test_a_name_reaches_the_version_it_stands_for(gateway: Gateway, name: str, version: int, arm: Arm) -> None:
    key = gateway.new_key()

    answer = gateway.request("POST", f"/v2/models/{name}/infer", _JSON, key.header)

    assert (answer.json["model_name"], answer.json["model_version"]) == ("echo", str(version))
    assert answer.headers["X-Model-Version"] == str(version)
    [record] = gateway.records(key)
    assert (record.version, record.arm, record.rows) == (version, arm, 2)


def test_every_answer_names_its_request_and_what_the_gateway_cost(gateway: Gateway) -> None:
    key = gateway.new_key()

    ours = gateway.request("POST", "/v2/models/echo/infer", _JSON, key.header)
    theirs = gateway.request("POST", "/v2/models/echo/infer", _JSON, key.header | {"X-Request-Id": "abc-1"})
    unsafe = gateway.request("POST", "/v2/models/echo/infer", _JSON, key.header | {"X-Request-Id": "a b"})

    assert theirs.headers["X-Request-Id"] == "abc-1"
    assert len({ours.headers["X-Request-Id"], unsafe.headers["X-Request-Id"], "a b"}) == 3
    assert 0 < float(ours.headers["X-Gateway-Overhead-Ms"]) < 1000
    assert "Server" not in ours.headers


def test_head_answers_like_get_without_the_body(gateway: Gateway) -> None:
    header = gateway.new_key().header

    for path in ("/v2", "/v2/models/echo", "/v2/models/echo/config", "/v2/health/live"):
        get, head = gateway.request("GET", path, None, header), gateway.request("HEAD", path, None, header)
        assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(get.body)), b"")
