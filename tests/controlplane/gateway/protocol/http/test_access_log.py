"""Every failed request is logged, and a sample of the others."""

import json
from collections.abc import Callable
from typing import Any

from tests.support.gateway import Gateway, orders_for
from tests.support.triton import TritonServer, wait_until

_INFER = "/v2/models/echo/infer?secret=1"
_GOOD = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}'
_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _lines(gateway: Gateway) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in gateway.log.splitlines()]
    return [line for line in lines if line["message"] == "A request ended."]


def test_failures_are_always_logged_with_what_it_takes_to_find_them(
    start_gateway: Callable[..., Gateway], echo_triton: TritonServer
) -> None:
    gateway = start_gateway(
        *orders_for(echo_triton), GATEWAY_ACCESS_LOG_RATIO="0", GATEWAY_TRUSTED_PROXIES="127.0.0.0/8"
    )
    key = gateway.new_key()
    more = {"X-Request-Id": "find-me", "traceparent": _TRACE, "X-Forwarded-For": "203.0.113.9"}
    assert gateway.request("POST", _INFER, _GOOD, key.header | more).status == 200
    assert gateway.request("POST", _INFER, _GOOD.replace(b"[1,1]", b"[1,2]"), key.header | more).status == 400
    wait_until(lambda: len(_lines(gateway)) == 1, what="the failure is logged", timeout_s=5)

    [line] = _lines(gateway)

    assert (line["request_id"], line["status"], line["cause"]) == ("find-me", 400, "request")
    assert (line["method"], line["path"]) == ("POST", "/v2/models/echo/infer")
    assert (line["model"], line["version"], line["key"]) == ("echo", 1, key.number)
    assert line["client"] == "203.0.113.9"
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["duration_ms"] > 0
    assert key.text not in gateway.log


def test_all_are_logged_where_that_is_wished(start_gateway: Callable[..., Gateway], echo_triton: TritonServer) -> None:
    gateway = start_gateway(*orders_for(echo_triton), GATEWAY_ACCESS_LOG_RATIO="1")
    header = gateway.new_key().header
    for _ in range(5):
        gateway.request("POST", _INFER, _GOOD, header)

    wait_until(lambda: len(_lines(gateway)) == 5, what="all are logged", timeout_s=5)
    assert {line["client"] for line in _lines(gateway)} == {"127.0.0.1"}
