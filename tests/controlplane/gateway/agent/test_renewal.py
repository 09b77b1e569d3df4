"""SIGHUP: every worker is replaced, one after the other, and no request fails."""

from __future__ import annotations

import http.client
import signal
import threading
from functools import partial
from pathlib import Path

import msgspec
import pytest

from controlplane.wire.keys import generate_key, hash_key
from controlplane.wire.snapshot import KeyEntry, ServerEntry
from tests.controlplane.gateway.agent.conftest import RunningGateway, StartGateway, eventually
from tests.controlplane.gateway.agent.control_stand_in import ControlStandIn
from tests.support.gateway import PEPPER, echo_model, orders_for
from tests.support.triton import TritonServer

_BODY = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}'
_CLIENTS = 8


class Load:
    """Clients that ask as fast as they can, on connections they keep and open again when told to close."""

    def __init__(self, port: int, key: str) -> None:
        self.statuses: list[int] = []
        self.failures: list[str] = []
        self._port, self._key = port, key
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v2/models/echo/infer", _BODY, {"X-API-Key": self._key})
                response = connection.getresponse()
                response.read()
                self.statuses.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def gateway(
    control: ControlStandIn, start_gateway: StartGateway, gateway_environment: dict[str, str], echo_triton: TritonServer
) -> tuple[RunningGateway, str]:
    """The real gateway with two workers, and a key that it knows."""
    (Path(gateway_environment["GATEWAY_SECRETS_DIR"]) / "pepper").write_bytes(PEPPER)
    key = generate_key("test")
    control.set_entry("key", key.key_id, KeyEntry(1, hash_key(key.text, PEPPER), "org", "project"))
    control.set_entry("model", "echo", echo_model())
    for entry in orders_for(echo_triton):
        if entry.kind == "server" and entry.value is not None:
            control.set_entry("server", entry.name, msgspec.msgpack.decode(entry.value, type=ServerEntry))
    return start_gateway("controlplane.gateway").wait_until_ready(), key.text


def test_workers_are_replaced_without_a_failed_request(gateway: tuple[RunningGateway, str]) -> None:
    running, key = gateway
    before = {process.pid for process in running.worker_processes()}
    load = Load(running.ports["http_port"], key)
    try:
        eventually(lambda: len(load.statuses) > 100)
        for _ in range(2):
            pids = {process.pid for process in running.worker_processes()}
            running.process.send_signal(signal.SIGHUP)
            eventually(partial(_has_two_others_than, pids, running), within_s=30)
        served = len(load.statuses)
        eventually(lambda: len(load.statuses) > served + 100)
    finally:
        load.end()

    assert load.failures == []
    assert set(load.statuses) == {200}
    assert not before & {process.pid for process in running.worker_processes()}
    assert running.logged("A worker died and is replaced.") == []
    assert running.metric("gateway_worker_restarts_total") == 0
    eventually(lambda: running.metric("gateway_usage_shipped_records_total") == len(load.statuses))


def test_the_metrics_tell_what_the_tritons_do(gateway: tuple[RunningGateway, str]) -> None:
    running, key = gateway
    load = Load(running.ports["http_port"], key)
    try:
        eventually(
            lambda: (
                'gateway_triton_batch_size{model="echo",server="triton-1",version="1"}' in running.metrics()
                and float(_value(running.metrics(), "gateway_triton_batch_size")) >= 1
            ),
            within_s=20,
        )
    finally:
        load.end()

    metrics = running.metrics()
    assert 'gateway_triton_inferences_total{model="echo",server="triton-1",version="1"}' in metrics
    assert 'gateway_triton_queue_length{model="echo",server="triton-1",version="1"}' in metrics
    assert 'gateway_model_load_events_total{event="loaded",model="echo",version="1"} 1.0' in metrics


def _has_two_others_than(pids: set[int], running: RunningGateway) -> bool:
    others = pids.isdisjoint(process.pid for process in running.worker_processes())
    return others and running.status("/ready")[1]["workers"]["ready"] == 2


def _value(metrics: str, name: str) -> str:
    lines = [line for line in metrics.splitlines() if line.startswith(name + "{") and 'version="1"' in line]
    return lines[0].rpartition(" ")[2] if lines else "0"
