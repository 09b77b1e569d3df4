"""A real gateway worker for tests: a process of its own, given orders the way the agent gives them.

A folder's conftest imports the fixtures; its tests then use the shared `gateway`, which serves the models of
`gateway_models` from a real Triton, or `start_gateway(...)` for a worker of their own.
"""

import contextlib
import http.client
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import pytest

from controlplane.gateway import channel
from controlplane.gateway.journal.format import HEADER_BYTES, WORD_CAPACITY, WORD_COMMITTED, header_words, journals_dir
from controlplane.wire.keys import generate_key, hash_key
from controlplane.wire.names import triton_name
from controlplane.wire.snapshot import (
    Entry,
    KeyEntry,
    ModelEntry,
    ServerEntry,
    TensorSpec,
    VersionRoute,
    encode_snapshot,
)
from controlplane.wire.usage import RECORD, UsageRecord, unpack_record
from tests.support.gateway_models import add_models
from tests.support.triton import TritonServer, wait_until

_REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
_HEADER = struct.Struct(">Ic")
_PATIENCE_S = 20.0
PEPPER = b"a pepper for tests"

ECHO_NUMBER, SLOW_NUMBER, TEXT_NUMBER, SUM_NUMBER, TOLD_NUMBER = 11, 12, 13, 14, 15
"""The models' numbers in usage records."""


class Answer(NamedTuple):
    """An HTTP answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Key(NamedTuple):
    """An API key that the gateway knows."""

    text: str
    key_id: str
    number: int

    @property
    def header(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.text}"}


class Gateway:
    """One worker process, and the agent's part played by the test.

    Attributes:
        revision: of the last orders sent.
    """

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.revision = 0
        self._settings = settings
        self._keys = 0
        self._ours: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.http_port, self.grpc_port = _free_port(), _free_port()
        secrets = directory / "secrets"
        secrets.mkdir(mode=0o700, parents=True)
        (secrets / "pepper").write_bytes(PEPPER)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.http_port

    @property
    def http_address(self) -> str:
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def log(self) -> str:
        return (self.directory / "worker.log").read_text()

    def start(self, *entries: Entry) -> None:
        """Starts the process with these orders, or with none, and returns when it listens."""
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(_PATIENCE_S)
        with theirs, socket.create_server(self.address, backlog=1024) as listener, self._log() as log:
            fds = (listener.fileno(), theirs.fileno())
            command = [sys.executable, "-m", "controlplane.gateway.worker", "--index", "0"]
            self._process = subprocess.Popen(
                [*command, "--http-fd", str(fds[0]), "--agent-fd", str(fds[1])],
                pass_fds=fds,
                cwd=_REPOSITORY_ROOT,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if entries:
            self._send_orders(list(entries))
        self.confirm()
        self.read_frame(channel.READY)

    def confirm(self, at_s: float | None = None) -> None:
        """Tells the worker that its orders were current at that time, now by default."""
        self._send(channel.CONFIRM, channel.pack_time(time.time() if at_s is None else at_s))

    def order(self, *entries: Entry) -> None:
        """Sends changes and returns when every new request sees them."""
        self._send_orders(list(entries))
        while channel.unpack_revision(self.read_frame(channel.APPLIED)) < self.revision:
            pass

    def new_key(self, **fields: Any) -> Key:
        """Makes a key that the gateway knows from now on; `fields` are those of `KeyEntry`."""
        parsed = generate_key("test")
        self._keys += 1
        number = 1000 + self._keys
        entry = KeyEntry(number, hash_key(parsed.text, PEPPER), organisation="org", project="project", **fields)
        self.order(key_entry(parsed.key_id, entry))
        return Key(parsed.text, parsed.key_id, number)

    def revoke(self, key: Key) -> None:
        self.order(Entry("key", key.key_id, 0))

    def read_frame(self, wanted: bytes) -> bytes:
        """The payload of the worker's next frame of a kind; others are dropped."""
        assert self._ours is not None
        while True:
            length, kind = _HEADER.unpack(self._read_exactly(_HEADER.size))
            payload = self._read_exactly(length)
            if kind == wanted:
                return payload

    def gauges(self) -> channel.WorkerGauges:
        """What the worker reports next."""
        assert self._ours is not None
        while select.select([self._ours], [], [], 0)[0]:
            self.read_frame(channel.METRICS)
        return channel.unpack_gauges(self.read_frame(channel.METRICS))

    def upstream_connections(self) -> int:
        """How many connections to servers the worker has open."""
        own = {self.http_port, self.grpc_port}
        connections = self.process.net_connections("tcp")
        return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port not in own for one in connections)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=_PATIENCE_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def connect(self) -> socket.socket:
        """A plain connection to the HTTP port."""
        return socket.create_connection(self.address, timeout=_PATIENCE_S)

    def records(self, key: Key | None = None) -> list[UsageRecord]:
        """Every record in the worker's journals, or those of one key; a request without a key has number 0."""
        records = read_records(journals_dir(self.directory))
        return records if key is None else [record for record in records if record.key == key.number]

    def quit(self) -> None:
        """Tells the worker to drain and exit."""
        self._send(channel.QUIT)

    def abandon(self) -> None:
        """Dies as an agent does: its end of the channel closes."""
        assert self._ours is not None
        self._ours.close()

    def wait(self) -> int:
        """Returns the exit status once the process is gone."""
        assert self._process is not None
        return self._process.wait(_PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        """Leaves no process behind."""
        if self._ours is not None:
            self._ours.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_PATIENCE_S)

    def _log(self) -> Any:
        return (self.directory / "worker.log").open("ab")

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "GATEWAY_STATE_DIR": str(self.directory),
            "GATEWAY_SECRETS_DIR": str(self.directory / "secrets"),
            "GATEWAY_HOST": "127.0.0.1",
            "GATEWAY_HTTP_PORT": str(self.http_port),
            "GATEWAY_GRPC_PORT": str(self.grpc_port),
            "GATEWAY_DRAIN_S": "10",
            **self._settings,
        }

    def _send_orders(self, entries: list[Entry]) -> None:
        since, self.revision = self.revision, self.revision + 1
        numbered = [msgspec.structs.replace(entry, revision=self.revision) for entry in entries]
        self._send(channel.SNAPSHOT, encode_snapshot("test", since, self.revision, numbered))

    def _send(self, kind: bytes, payload: bytes = b"") -> None:
        assert self._ours is not None
        self._ours.sendall(_HEADER.pack(len(payload), kind) + payload)

    def _read_exactly(self, size: int) -> bytes:
        assert self._ours is not None
        data = b""
        while len(data) < size:
            more = self._ours.recv(size - len(data))
            if not more:
                pytest.fail(f"the worker closed its channel:\n{self.log[-4000:]}")
            data += more
        return data


def key_entry(key_id: str, value: KeyEntry) -> Entry:
    return Entry("key", key_id, 0, msgspec.msgpack.encode(value))


def model_entry(value: ModelEntry) -> Entry:
    return Entry("model", value.slug, 0, msgspec.msgpack.encode(value))


def server_entry(server_id: int, *, http: str, grpc: str, state: str = "active") -> Entry:
    server = ServerEntry(server_id, f"triton-{server_id}", "main", http=http, grpc=grpc, state=state)
    return Entry("server", str(server_id), 0, msgspec.msgpack.encode(server))


def echo_model(servers: tuple[int, ...] = (1,), **fields: Any) -> ModelEntry:
    """The model `echo` as the gateway is told of it: version 1 is the default, `next` is version 2."""
    slug = fields.get("slug", "echo")
    versions = {
        number: VersionRoute(
            number,
            f"{number}.0.0",
            triton_name(slug, number),
            servers,
            batched=True,
            inputs=(TensorSpec("x", "FP32", (-1, -1)),),
            outputs=(TensorSpec("y", "FP32", (-1, -1)),),
        )
        for number in (1, 2)
    }
    defaults: dict[str, Any] = {
        "number": ECHO_NUMBER,
        "slug": "echo",
        "default_version": 1,
        "aliases": {"production": 1, "next": 2},
        "versions": versions,
    }
    return ModelEntry(**(defaults | fields))


def _one_version(slug: str, number: int, datatype: str = "FP32", **fields: Any) -> ModelEntry:
    inputs, outputs = (TensorSpec("x", datatype, (-1, -1)),), (TensorSpec("y", datatype, (-1, -1)),)
    versions = {1: VersionRoute(1, "1.0.0", triton_name(slug, 1), (1,), slug == "text", inputs, outputs)}
    return ModelEntry(number, slug, 1, {"production": 1}, versions, **fields)


def told_model() -> ModelEntry:
    """The model `told` as the gateway is told of it."""
    inputs = (TensorSpec("text_input", "BYTES", (1,)), TensorSpec("n", "INT32", (1,)))
    outputs = (TensorSpec("text_output", "BYTES", (1,)),)
    version = VersionRoute(1, "1.0.0", triton_name("told", 1), (1,), inputs=inputs, outputs=outputs)
    return ModelEntry(TOLD_NUMBER, "told", 1, {"production": 1}, {1: version})


def orders_for(triton: TritonServer) -> list[Entry]:
    """Orders that route `gateway_models` to a Triton."""
    return [
        server_entry(1, http=triton.http_address, grpc=triton.grpc_url),
        model_entry(echo_model()),
        model_entry(_one_version("slow", SLOW_NUMBER, timeout_s=2.0)),
        model_entry(_one_version("text", TEXT_NUMBER, "BYTES")),
        model_entry(_one_version("sum", SUM_NUMBER)),
        model_entry(told_model()),
    ]


@pytest.fixture(scope="session")
def echo_triton(triton: TritonServer) -> TritonServer:
    """The shared Triton, with `gateway_models` loaded."""
    add_models(triton)
    return triton


@pytest.fixture(scope="session")
def gateway(echo_triton: TritonServer) -> Iterator[Gateway]:
    """A worker that the tests of a session share: make keys of your own, and leave its models as they are."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as directory:
        started = Gateway(Path(directory))
        try:
            started.start(*orders_for(echo_triton))
            yield started
        finally:
            started.close()


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts workers that live as long as the test: `start_gateway(*entries, GATEWAY_DRAIN_S="1")`."""
    with contextlib.ExitStack() as stack:

        def start(*entries: Entry, **settings: str) -> Gateway:
            started = Gateway(Path(tempfile.mkdtemp(dir=tmp_path)), **settings)
            stack.callback(started.close)
            started.start(*entries)
            return started

        yield start


def wait_for_upstream(gateway: Gateway) -> None:
    """Returns once the first request of a worker is on its way to a server."""
    wait_until(lambda: gateway.upstream_connections() > 0, what="a request is under way", timeout_s=_PATIENCE_S)


def wait_for_records(gateway: Gateway, key: Key, count: int) -> list[UsageRecord]:
    """The records of a key once there are so many; for requests whose end the client does not see."""
    wait_until(lambda: len(gateway.records(key)) >= count, what=f"{count} records are written", timeout_s=_PATIENCE_S)
    return gateway.records(key)


def read_records(directory: Path) -> list[UsageRecord]:
    """Every record in the journals of a folder."""
    return [record for path in directory.glob("*.journal") for record in _read_journal(path)]


def _read_journal(path: Path) -> list[UsageRecord]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        words = header_words(mapping)
        committed, capacity = words[WORD_COMMITTED], words[WORD_CAPACITY]
        words.release()
        first = max(0, committed - capacity)
        offsets = (HEADER_BYTES + index % capacity * RECORD.size for index in range(first, committed))
        data = mapping[:]
        return [unpack_record(data, offset) for offset in offsets]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
