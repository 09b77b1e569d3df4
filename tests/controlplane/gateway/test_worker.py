"""The worker's life: orders in, readiness, gauges, draining, and the end."""

import http.client
import signal
import threading
import time
from collections.abc import Callable

import pytest

from controlplane.gateway import channel
from controlplane.wire.snapshot import Entry
from controlplane.wire.usage import Cause
from tests.support.gateway import Gateway, echo_model, model_entry, orders_for, wait_for_records, wait_for_upstream
from tests.support.triton import TritonServer, wait_until

StartGateway = Callable[..., Gateway]

_BODY = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[%s]}]}'


def test_without_orders_it_is_alive_and_not_ready(start_gateway: StartGateway) -> None:
    gateway = start_gateway()

    assert gateway.request("GET", "/v2/health/live").status == 200
    ready = gateway.request("GET", "/v2/health/ready")
    assert (ready.status, ready.headers["X-Error-Code"]) == (503, "gateway.no_orders")
    refused = gateway.request("POST", "/v2/models/echo/infer", _BODY % b"1", {"X-API-Key": "k"})
    assert refused.status == 503


def test_orders_that_are_too_old_stop_it_where_that_is_wished(start_gateway: StartGateway) -> None:
    gateway = start_gateway(model_entry(echo_model()), GATEWAY_MAX_ORDERS_AGE_S="30")
    assert gateway.request("GET", "/v2/health/ready").status == 200

    gateway.confirm(time.time() - 60)
    wait_until(lambda: gateway.request("GET", "/v2/health/ready").status == 503, what="the age counts", timeout_s=5)
    assert gateway.request("GET", "/v2").headers["X-Error-Code"] == "gateway.orders_too_old"

    gateway.confirm()
    wait_until(lambda: gateway.request("GET", "/v2/health/ready").status == 200, what="it serves on", timeout_s=5)


def test_every_step_of_orders_is_acknowledged_and_obeyed(
    start_gateway: StartGateway, echo_triton: TritonServer
) -> None:
    gateway = start_gateway(*orders_for(echo_triton))
    header = gateway.new_key().header

    def version() -> str | None:
        return gateway.request("POST", "/v2/models/echo/infer", _BODY % b"1", header).headers["X-Model-Version"]

    assert version() == "1"
    gateway.order(model_entry(echo_model(default_version=2)))
    assert version() == "2"
    gateway.order(Entry("model", "echo", 0))
    assert gateway.request("POST", "/v2/models/echo/infer", _BODY % b"1", header).status == 404


def test_it_reports_what_only_it_knows(start_gateway: StartGateway, echo_triton: TritonServer) -> None:
    gateway = start_gateway(*orders_for(echo_triton))
    key = gateway.new_key()
    connection = http.client.HTTPConnection(*gateway.address)
    connection.request("POST", "/v2/models/slow/infer", _BODY % b"1.8", key.header)

    wait_until(lambda: gateway.gauges().in_flight == 1, what="the request is seen", timeout_s=5)
    assert gateway.gauges().connections == 1
    connection.close()
    wait_until(lambda: gateway.gauges() == channel.WorkerGauges(), what="it is seen to be gone", timeout_s=5)


@pytest.mark.parametrize("how", ["told to quit", "terminated", "its agent dies"])
def test_it_finishes_what_is_running_and_exits(
    start_gateway: StartGateway, echo_triton: TritonServer, how: str
) -> None:
    gateway = start_gateway(*orders_for(echo_triton))
    key = gateway.new_key()
    statuses: list[tuple[int, str | None]] = []

    def ask() -> None:
        answer = gateway.request("POST", "/v2/models/slow/infer", _BODY % b"0.8", key.header)
        statuses.append((answer.status, answer.headers["Connection"]))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for_upstream(gateway)
    if how == "told to quit":
        gateway.quit()
    elif how == "terminated":
        gateway.signal(signal.SIGTERM)
    else:
        gateway.abandon()
    wait_until(lambda: not _accepts(gateway), what="nothing new is accepted", timeout_s=5)

    asking.join()

    assert gateway.wait() == 0
    assert statuses == [(200, "close")]
    assert [record.status for record in gateway.records(key)] == [200]


def test_what_takes_longer_than_it_may_is_ended_and_counted(
    start_gateway: StartGateway, echo_triton: TritonServer
) -> None:
    gateway = start_gateway(*orders_for(echo_triton), GATEWAY_DRAIN_S="0.2")
    key = gateway.new_key()
    connection = http.client.HTTPConnection(*gateway.address)
    connection.request("POST", "/v2/models/slow/infer", _BODY % b"0.9", key.header)
    wait_for_upstream(gateway)

    gateway.quit()
    answer = connection.getresponse()

    assert (answer.status, answer.headers["X-Error-Code"]) == (503, "gateway.stopping")
    connection.close()
    assert gateway.wait() == 0
    [record] = gateway.records(key)
    assert (record.status, record.cause) == (503, Cause.GATEWAY)


def test_what_was_answered_was_counted_also_after_a_kill(
    start_gateway: StartGateway, echo_triton: TritonServer
) -> None:
    gateway = start_gateway(*orders_for(echo_triton))
    key = gateway.new_key()
    for _ in range(50):
        assert gateway.request("POST", "/v2/models/echo/infer", _BODY % b"1", key.header).status == 200

    gateway.signal(signal.SIGKILL)
    gateway.wait()

    assert len(gateway.records(key)) == 50


def test_a_request_cut_by_a_client_is_counted_once(start_gateway: StartGateway, echo_triton: TritonServer) -> None:
    gateway = start_gateway(*orders_for(echo_triton))
    key = gateway.new_key()
    with gateway.connect() as connection:
        connection.sendall(f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: a\r\nX-API-Key: {key.text}\r\n".encode())
        connection.sendall(b"Content-Length: 100\r\n\r\n{")
        wait_until(lambda: gateway.gauges().in_flight == 1, what="the request is begun", timeout_s=5)

    [record] = wait_for_records(gateway, key, 1)

    assert (record.status, record.cause, record.bytes_in) == (499, Cause.CLIENT, 1)


def _accepts(gateway: Gateway) -> bool:
    try:
        gateway.connect().close()
    except OSError:
        return False
    return True
