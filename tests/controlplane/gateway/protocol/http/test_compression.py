"""Answers are compressed here where the client wishes it, and never by a Triton."""

import gzip
import json
import zlib

import httpx
import pytest

from controlplane.gateway.protocol.http.compression import choose
from tests.support.gateway import Gateway
from tests.support.triton import TritonServer

_INFER = "/v2/models/echo/infer"


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"gzip, deflate, br", b"gzip"),
        (b"deflate;q=1, gzip;q=0.5", b"deflate"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"*", b"gzip"),
        (b"*;q=0", b""),
        (b"gzip;q=0, *", b"deflate"),
        (b"br, zstd", b""),
        (b"identity", b""),
        (b"gzip;q=nonsense", b""),
        (b"GZIP ; q=0.3", b"gzip"),
        (b"", b""),
    ],
)
def test_the_encoding_that_the_client_likes_best_is_chosen(accepted: bytes, chosen: bytes) -> None:
    assert choose(accepted) == chosen


def _body(columns: int, binary: bool) -> bytes:
    data = [float(number % 10) for number in range(columns)]
    outputs = [{"name": "y", "parameters": {"binary_data": binary}}]
    tensor = {"name": "x", "shape": [1, columns], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor], "outputs": outputs}).encode()


@pytest.mark.parametrize("columns", [500, 400_000])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_answer_is_the_plain_one_after_decoding(
    gateway: Gateway, echo_triton: TritonServer, encoding: str, binary: bool, columns: int
) -> None:
    body, key = _body(columns, binary), gateway.new_key()
    url = f"{echo_triton.http_url}/v2/models/echo.v1/infer"
    direct = httpx.post(url, content=body, headers={"Accept-Encoding": "identity"})

    answer = gateway.request("POST", _INFER, body, key.header | {"Accept-Encoding": encoding})

    assert (answer.status, answer.headers["Content-Encoding"]) == (200, encoding)
    assert answer.headers["Vary"] == "Accept-Encoding"
    plain = gzip.decompress(answer.body) if encoding == "gzip" else zlib.decompress(answer.body)
    assert plain == direct.content.replace(b"echo.v1", b"echo", 1)
    assert len(answer.body) < len(plain) / 2
    if binary:
        json_bytes = int(answer.headers["Inference-Header-Content-Length"])
        assert json.loads(plain[:json_bytes])["model_name"] == "echo"
    [record] = gateway.records(key)
    assert record.bytes_out == len(answer.body)


def test_small_answers_and_old_clients_are_left_alone(gateway: Gateway) -> None:
    header = gateway.new_key().header

    assert gateway.request("POST", _INFER, _body(2, False), header | {"Accept-Encoding": "gzip"}).json
    metadata = gateway.request("GET", "/v2", None, header | {"Accept-Encoding": "gzip"})
    assert metadata.headers["Content-Encoding"] is None
    statistics = gateway.request("GET", "/v2/models/stats", None, header | {"Accept-Encoding": "gzip"})
    assert json.loads(gzip.decompress(statistics.body))["model_stats"]


def test_a_large_compressed_request_is_inflated(gateway: Gateway) -> None:
    header = gateway.new_key().header | {"Content-Encoding": "gzip"}
    body = _body(1_000_000, True)

    answer = gateway.request("POST", _INFER, gzip.compress(body, 1), header)

    assert answer.status == 200
    assert len(answer.body) > 4_000_000
