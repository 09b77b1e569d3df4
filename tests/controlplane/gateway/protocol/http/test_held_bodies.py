"""What must be read as a whole is held within bounds; what streams through is not."""

import gzip
import json
from collections.abc import Callable

from tests.support.gateway import Gateway, orders_for
from tests.support.triton import TritonServer

_INFER = "/v2/models/echo/infer"


def test_bodies_beyond_the_room_there_is_are_refused_and_the_room_comes_back(
    start_gateway: Callable[..., Gateway], echo_triton: TritonServer
) -> None:
    gateway = start_gateway(*orders_for(echo_triton), GATEWAY_MAX_HELD_BYTES=str(2 * 2**20))
    key = gateway.new_key()
    text = json.dumps({"inputs": [{"name": "x", "shape": [1, 200_000], "datatype": "FP32", "data": [1.0] * 200_000}]})
    large = json.dumps({"inputs": [{"name": "x", "shape": [1, 400_000], "datatype": "FP32", "data": [1.0] * 400_000}]})
    size = 8 * 2**20
    tensor = {"name": "x", "shape": [1, size // 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    binary = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()

    for _ in range(3):
        assert gateway.request("POST", _INFER, text.encode(), key.header).status == 200
        for body, more in ((large.encode(), {}), (gzip.compress(large.encode()), {"Content-Encoding": "gzip"})):
            refused = gateway.request("POST", _INFER, body, key.header | more)
            assert (refused.status, refused.headers["X-Error-Code"]) == (503, "gateway.memory")
            assert refused.headers["Retry-After"] == "1"
        lengths = key.header | {"Inference-Header-Content-Length": str(len(binary))}
        assert gateway.request("POST", _INFER, binary + bytes(size), lengths).status == 200
