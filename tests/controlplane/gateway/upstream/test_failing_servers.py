"""Servers that refuse, hang, die or talk nonsense: what the client hears, and whose fault it is written down as."""

import contextlib
import http.client
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from controlplane.wire.snapshot import Entry
from controlplane.wire.usage import Cause
from tests.support.gateway import (
    Gateway,
    echo_model,
    model_entry,
    orders_for,
    server_entry,
    wait_for_records,
)
from tests.support.triton import TritonServer, wait_until

StartGateway = Callable[..., Gateway]

_INFER = "/v2/models/echo/infer"
_BODY = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    requests = 0


@contextlib.contextmanager
def _server(answer: bytes | None, *, hangs_up: bool = True) -> Iterator[_Server]:
    """A server that reads a request and answers each with these bytes and hangs up; with None it hangs."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            server.requests += 1
            if answer is None:
                self.request.recv(1)
            else:
                self.request.sendall(answer)
                if not hangs_up:
                    self.request.recv(1)

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _at(server_id: int, server: _Server) -> Entry:
    address = f"127.0.0.1:{server.server_address[1]}"
    return server_entry(server_id, http=address, grpc=address)


def _nobody(server_id: int) -> Entry:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    return server_entry(server_id, http=address, grpc=address)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"", 502, "upstream.reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 502, "upstream.reset"),
        (b"nonsense\r\n\r\n", 502, "upstream.reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 502, "upstream.reset"),
        (b'HTTP/1.1 503 Full\r\nContent-Length: 31\r\n\r\n{"error":"echo.v1: queue full"}', 503, "model.failed"),
        (None, 504, "upstream.timeout"),
    ],
)
def test_a_request_that_may_have_run_is_never_sent_again(
    start_gateway: StartGateway, answer: bytes | None, status: int, code: str
) -> None:
    with _server(answer) as first, _server(answer) as second:
        gateway = start_gateway(_at(1, first), _at(2, second), model_entry(echo_model(servers=(1, 2), timeout_s=0.5)))
        key = gateway.new_key()

        reply = gateway.request("POST", _INFER, _BODY, key.header)

        assert (reply.status, reply.headers["X-Error-Code"]) == (status, code)
        assert "echo.v1" not in reply.json["error"]
        assert first.requests + second.requests == 1
    [record] = gateway.records(key)
    assert (record.status, record.cause) == (status, Cause.MODEL)


def test_a_version_that_a_server_lacks_is_asked_of_another(
    start_gateway: StartGateway, echo_triton: TritonServer, start_triton: Callable[..., TritonServer]
) -> None:
    empty = start_triton()
    gateway = start_gateway(
        server_entry(1, http=empty.http_address, grpc=empty.grpc_url),
        server_entry(2, http=echo_triton.http_address, grpc=echo_triton.grpc_url),
        model_entry(echo_model(servers=(1, 2))),
    )
    key = gateway.new_key()

    for path in ("/v2/models/echo", "/v2/models/echo/config"):
        assert gateway.request("GET", path, None, key.header).status == 200
    assert [gateway.request("POST", _INFER, _BODY, key.header).status for _ in range(10)] == [200] * 10
    assert [_infer_by_grpc(gateway, key.text) for _ in range(5)] == ["echo"] * 5
    assert {(record.status, record.cause) for record in gateway.records(key)} == {(200, Cause.OK)}


def test_a_version_that_every_server_lacks_is_the_models_fault(start_gateway: StartGateway) -> None:
    text = b'{"error":"Request for unknown model: \'echo.v1\' is not found"}'
    lacks = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
    with _server(lacks) as first, _server(lacks) as second:
        gateway = start_gateway(_at(1, first), _at(2, second), model_entry(echo_model(servers=(1, 2))))
        key = gateway.new_key()

        reply = gateway.request("POST", _INFER, _BODY, key.header)

        assert (reply.status, reply.json["error"]) == (404, "Request for unknown model: 'echo' is not found")
        assert (first.requests, second.requests) == (1, 1)
    assert [record.cause for record in gateway.records(key)] == [Cause.MODEL]


def test_a_request_that_kills_servers_is_kept_from_them(start_gateway: StartGateway) -> None:
    with _server(b"") as server:
        gateway = start_gateway(_at(1, server), model_entry(echo_model()))
        key, other = gateway.new_key(), gateway.new_key()

        def is_held_off() -> bool:
            reply = gateway.request("POST", _INFER, _BODY, key.header)
            return reply.headers["X-Error-Code"] == "poison_suspected"

        wait_until(is_held_off, what="the second death is seen", timeout_s=10)
        before = server.requests
        assert before >= 2
        held_off = gateway.request("POST", _INFER, _BODY, key.header)
        assert (held_off.status, int(held_off.headers["Retry-After"]) > 0) == (503, True)
        assert server.requests == before
        assert gateway.request("POST", _INFER, _BODY, other.header).headers["X-Error-Code"] == "upstream.reset"


def test_an_answer_that_stands_still_is_cut(start_gateway: StartGateway) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"a" * 500
    with _server(answer, hangs_up=False) as server:
        gateway = start_gateway(_at(1, server), model_entry(echo_model(stream_idle_s=0.3)))
        key = gateway.new_key()

        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            gateway.request("POST", _INFER, _BODY, key.header)

    [record] = wait_for_records(gateway, key, 1)
    assert (record.status, record.cause) == (504, Cause.MODEL)


def test_an_answer_cut_short_is_cut_short_for_the_client_too(start_gateway: StartGateway) -> None:
    with _server(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"a" * 5000) as server:
        gateway = start_gateway(_at(1, server), model_entry(echo_model()))
        key = gateway.new_key()
        with gateway.connect() as connection:
            head = f"POST {_INFER} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key.text}\r\nContent-Length: {len(_BODY)}\r\n\r\n"
            connection.sendall(head.encode() + _BODY)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    received += piece

    assert len(received) < 10_000
    [record] = wait_for_records(gateway, key, 1)
    assert (record.status, record.cause) == (502, Cause.MODEL)


def test_a_server_that_does_not_read_slows_the_client_and_fills_no_memory(start_gateway: StartGateway) -> None:
    size = 48 * 2**20
    tensor = {"name": "x", "shape": [1, size // 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [tensor]}).encode()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        gateway = start_gateway(server_entry(1, http=address, grpc=address), model_entry(echo_model(timeout_s=2.0)))
        key = gateway.new_key()
        before, sent = gateway.process.memory_info().rss, 0
        with gateway.connect() as connection:
            head = f"POST {_INFER} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key.text}\r\n"
            lengths = f"Content-Length: {len(text) + size}\r\nInference-Header-Content-Length: {len(text)}\r\n\r\n"
            connection.sendall(head.encode() + lengths.encode() + text)
            connection.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                while sent < size:
                    sent += connection.send(bytes(2**20))
            assert sent < size
            assert gateway.process.memory_info().rss - before < 16 * 2**20
            [record] = wait_for_records(gateway, key, 1)

    assert (record.status, record.cause) == (504, Cause.MODEL)


def test_a_client_that_closes_its_side_is_taken_to_be_gone(
    start_gateway: StartGateway, echo_triton: TritonServer
) -> None:
    gateway = start_gateway(*orders_for(echo_triton))
    key = gateway.new_key()
    body = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1.5]}]}'
    with gateway.connect() as connection:
        head = f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: a\r\nX-API-Key: {key.text}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""

    [record] = wait_for_records(gateway, key, 1)
    assert (record.status, record.cause) == (499, Cause.CLIENT)


def test_a_server_that_refuses_is_passed_over(start_gateway: StartGateway, echo_triton: TritonServer) -> None:
    triton = server_entry(2, http=echo_triton.http_address, grpc=echo_triton.grpc_url)
    gateway = start_gateway(_nobody(1), triton, model_entry(echo_model(servers=(1, 2))))
    key = gateway.new_key()

    assert [gateway.request("POST", _INFER, _BODY, key.header).status for _ in range(5)] == [200] * 5
    assert _infer_by_grpc(gateway, key.text) == "echo"
    assert gateway.gauges().unreachable.get(1, 0) >= 1
    assert {record.cause for record in gateway.records(key)} == {Cause.OK}


def test_with_no_server_left_the_model_is_to_blame(start_gateway: StartGateway) -> None:
    gateway = start_gateway(_nobody(1), _nobody(2), model_entry(echo_model(servers=(1, 2))))
    key = gateway.new_key()

    reply = gateway.request("POST", _INFER, _BODY, key.header)
    with pytest.raises(grpc.RpcError) as raised:
        _infer_by_grpc(gateway, key.text)

    assert (reply.status, reply.headers["X-Error-Code"]) == (503, "upstream.unreachable")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [(record.status, record.cause) for record in gateway.records(key)] == [
        (503, Cause.MODEL),
        (503, Cause.MODEL),
    ]


def test_a_version_that_runs_nowhere_says_so(start_gateway: StartGateway) -> None:
    gateway = start_gateway(model_entry(echo_model(servers=())))
    key = gateway.new_key()

    reply = gateway.request("POST", _INFER, _BODY, key.header)

    assert (reply.status, reply.json) == (503, {"error": "Model 'echo' version 1 is not ready on any server"})


def test_a_triton_that_restarts_is_used_again(
    start_gateway: StartGateway, start_triton: Callable[..., TritonServer]
) -> None:
    triton = start_triton()
    gateway = start_gateway(server_entry(1, http=triton.http_address, grpc=triton.grpc_url), model_entry(echo_model()))
    header = gateway.new_key().header
    unknown = {"error": "Request for unknown model: 'echo' is not found"}

    # Connections are kept, and the same ones would be dead after the restart.
    assert gateway.request("GET", "/v2/models/echo", None, header).json == unknown
    triton.restart()

    assert gateway.request("GET", "/v2/models/echo", None, header).json == unknown


def _infer_by_grpc(gateway: Gateway, key: str) -> str:
    request = service_pb2.ModelInferRequest(model_name="echo")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(1)
    with grpc.insecure_channel(gateway.grpc_address) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        name: str = stub.ModelInfer(request, metadata=(("x-api-key", key),)).model_name
        return name
