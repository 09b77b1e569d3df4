"""HTTP itself: framing, order, limits, back-pressure, and the forms that are refused."""

import http.client
import json
import socket
import time

import pytest

from controlplane.wire.usage import Cause
from tests.support.gateway import Gateway, Key, wait_for_records, wait_for_upstream
from tests.support.triton import wait_until

_INFER = "/v2/models/echo/infer"


def _body(value: float) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [value]}]}).encode()


def _post(key: Key, body: bytes, path: str = _INFER, more: str = "", length: int | None = None) -> bytes:
    framing = more if "chunked" in more else f"Content-Length: {len(body) if length is None else length}\r\n{more}"
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key.text}\r\n{framing}\r\n".encode() + body


def _chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"


def _answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Reads so many answers off one connection."""
    reader = connection.makefile("rb")
    answers = []
    for _ in range(count):
        status = int(reader.readline().split()[1])
        headers = http.client.parse_headers(reader)
        answers.append((status, reader.read(int(headers.get("Content-Length", "0")))))
    return answers


def _value(answer: tuple[int, bytes]) -> float:
    value: float = json.loads(answer[1])["outputs"][0]["data"][0]
    return value


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    key = gateway.new_key()
    slow = _post(key, _body(0.3), "/v2/models/slow/infer")
    quick = [_post(key, _body(float(number))) for number in range(1, 20)]
    with gateway.connect() as connection:
        connection.sendall(slow + b"".join(quick))
        answers = _answers(connection, 20)

    assert [status for status, _ in answers] == [200] * 20
    assert [round(_value(answer), 1) for answer in answers] == [0.3, *map(float, range(1, 20))]
    assert len(gateway.records(key)) == 20


def test_a_bad_request_behind_good_ones_is_answered_in_its_turn(gateway: Gateway) -> None:
    key = gateway.new_key()
    with gateway.connect() as connection:
        connection.sendall(_post(key, _body(0.2), "/v2/models/slow/infer") + b"GARBAGE\r\n\r\n" + _post(key, _body(1)))
        answers = _answers(connection, 2)
        assert connection.recv(1) == b""

    assert [status for status, _ in answers] == [200, 400]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunked_bodies_are_read_whatever_their_chunks(gateway: Gateway, size: int) -> None:
    key = gateway.new_key()
    with gateway.connect() as connection:
        for _ in range(2):
            connection.sendall(_post(key, _chunked(_body(5), size), more="Transfer-Encoding: chunked\r\n"))
            assert _value(_answers(connection, 1)[0]) == 5


def test_a_request_may_arrive_byte_by_byte(gateway: Gateway) -> None:
    key = gateway.new_key()
    with gateway.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in _post(key, _body(6)):
            connection.sendall(bytes([byte]))
        assert _value(_answers(connection, 1)[0]) == 6


def test_a_client_that_asks_first_is_told_to_go_on(gateway: Gateway) -> None:
    key = gateway.new_key()
    with gateway.connect() as connection:
        head, body = _post(key, b"", more="Expect: 100-continue\r\n", length=len(_body(4))), _body(4)
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert _value(_answers(connection, 1)[0]) == 4


def test_a_client_that_asks_first_hears_a_refusal_before_it_sends(gateway: Gateway) -> None:
    key = gateway.new_key()
    with gateway.connect() as connection:
        connection.sendall(_post(key, b"", more="Expect: 100-continue\r\n", length=10**12))
        assert _answers(connection, 1)[0][0] == 413
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET /v2 HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", id="two Hosts"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nHost : a\r\n\r\n", id="a blank before the colon"),
        pytest.param(b"GET http://a/v2 HTTP/1.1\r\nHost: a\r\n\r\n", id="an absolute URI"),
        pytest.param(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", id="CONNECT"),
        pytest.param(b"GET /v2 HTTP/2.0\r\nHost: a\r\n\r\n", id="HTTP/2 in words"),
        pytest.param(b"GET /v2 HTTP/0.9\r\nHost: a\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"GET /v2 HTTP/1.1\nHost: a\n\n", id="bare line feeds"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", id="a folded header"),
        pytest.param(
            b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="both lengths",
        ),
        pytest.param(b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", id="twice"),
        pytest.param(b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", id="a signed length"),
        pytest.param(b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="bad TE"),
        pytest.param(
            b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="TE list"
        ),
        pytest.param(
            b"POST /v2 HTTP/1.1\r\nHost: a\r\n" + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
            id="two TEs",
        ),
        pytest.param(b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n", id="bad chunk"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
    ],
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(gateway: Gateway, request_bytes: bytes) -> None:
    with gateway.connect() as connection:
        connection.sendall(request_bytes)
        status, body = _answers(connection, 1)[0]
        assert (status, list(json.loads(body))) == (400, ["error"])
        assert connection.recv(1) == b""


@pytest.mark.parametrize("piece", [b"X-A: " + b"a" * 70_000 + b"\r\n", b"X-A: b\r\n" * 20_000])
def test_a_head_that_is_too_large_is_refused_before_it_ends(gateway: Gateway, piece: bytes) -> None:
    with gateway.connect() as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\n" + piece)
        assert _answers(connection, 1)[0][0] == 431


def test_an_offer_of_another_protocol_is_ignored(gateway: Gateway) -> None:
    key = gateway.new_key()
    more = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with gateway.connect() as connection:
        connection.sendall(_post(key, _body(3), more=more) + _post(key, _body(4)))
        assert [_value(answer) for answer in _answers(connection, 2)] == [3, 4]


def test_an_old_client_is_answered_in_its_own_way(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
        assert _answers(connection, 1)[0][0] == 200
        assert connection.recv(1) == b""


def test_a_body_beyond_the_models_limit_is_refused_unread(gateway: Gateway) -> None:
    key = gateway.new_key()
    announced = _post(key, b"", length=10**10)
    growing = _post(key, b"", more="Transfer-Encoding: chunked\r\n")
    with gateway.connect() as connection:
        connection.sendall(announced)
        assert _answers(connection, 1)[0][0] == 413
    with gateway.connect() as connection:
        connection.sendall(growing)
        for _ in range(70):
            connection.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
        assert _answers(connection, 1)[0][0] == 413
    assert [record.status for record in wait_for_records(gateway, key, 2)] == [413, 413]


def test_a_client_that_leaves_ends_the_request_at_the_server_too(gateway: Gateway) -> None:
    key = gateway.new_key()
    with gateway.connect() as connection:
        connection.sendall(_post(key, _body(0.9), "/v2/models/slow/infer"))
        wait_for_upstream(gateway)
        before = gateway.upstream_connections()

    [record] = wait_for_records(gateway, key, 1)

    assert (record.status, record.cause) == (499, Cause.CLIENT)
    assert record.duration_us < 800_000
    wait_until(lambda: gateway.upstream_connections() < before, what="its connection is closed", timeout_s=5)


def test_large_bodies_stream_through_without_being_held(gateway: Gateway) -> None:
    key = gateway.new_key()
    size = 48 * 2**20
    tensor = {"name": "x", "shape": [1, size // 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    headers = key.header | {"Inference-Header-Content-Length": str(len(text))}
    gateway.request("POST", _INFER, _body(1), key.header)
    before = gateway.process.memory_info().rss
    peak = before

    connection = http.client.HTTPConnection(*gateway.address, timeout=60)
    connection.putrequest("POST", _INFER)
    for name, value in (headers | {"Content-Length": str(len(text) + size)}).items():
        connection.putheader(name, value)
    connection.endheaders(text)
    for _ in range(size // 2**20):
        connection.send(bytes(2**20))
        peak = max(peak, gateway.process.memory_info().rss)
    response = connection.getresponse()
    received = 0
    while piece := response.read(2**20):
        received += len(piece)
        peak = max(peak, gateway.process.memory_info().rss)
    connection.close()

    assert response.status == 200
    assert received > size
    assert peak - before < 16 * 2**20
    [_, record] = gateway.records(key)
    assert (record.bytes_in, record.bytes_out) == (len(text) + size, received)


def test_a_slow_reader_slows_the_server_and_fills_no_memory(gateway: Gateway) -> None:
    key = gateway.new_key()
    size = 32 * 2**20
    tensor = {"name": "x", "shape": [1, size // 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    more = f"Inference-Header-Content-Length: {len(text)}\r\n"
    before = gateway.process.memory_info().rss
    with gateway.connect() as connection:
        connection.sendall(_post(key, text + bytes(size), more=more))
        time.sleep(0.5)  # not reading is the point
        assert gateway.process.memory_info().rss - before < 16 * 2**20
        assert gateway.records(key) == []
        received = 0
        while received < size:
            received += len(connection.recv(2**20))
        [record] = wait_for_records(gateway, key, 1)
    assert record.bytes_out > size
