"""The two internal routes of the control plane, with faults on demand."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from controlplane.wire.signing import Signer, generate_signing_key
from controlplane.wire.snapshot import Entry, KeyEntry, ModelEntry, ServerEntry, encode_snapshot, encode_value
from controlplane.wire.usage import UsageBatch, decode_batch

TOKEN = "tgt_test_gateway"


class ControlStandIn:
    """Serves orders and counts usage; `stop` and `start` keep both, and the port.

    Attributes:
        polls: the `since` of every poll so far.
        tamper: changes an envelope on its way out.
        skip_revisions: makes changes claim to follow a revision that the gateway does not have.
        usage_faults: what to do with the next deliveries: "drop" counts and then hangs up, "refuse" answers 503.
    """

    def __init__(self) -> None:
        private, self.public_pem = generate_signing_key()
        self._signer = Signer(private)
        self.instance = "control-1"
        self.token = TOKEN
        self.revision = 0
        self.entries: dict[tuple[str, str], Entry] = {}
        self.polls: list[int] = []
        self.on_poll: Callable[[int], None] = lambda _: None
        self.tamper: Callable[[bytes], bytes] = lambda envelope: envelope
        self.skip_revisions = 0
        self.usage_faults: list[str] = []
        self.counted: Counter[str] = Counter()
        self.batches: dict[tuple[str, int], UsageBatch] = {}
        self.duplicates = 0
        self.changed = threading.Condition()
        self._port = 0
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    @property
    def running(self) -> bool:
        return self._server is not None

    def set_entry(self, kind: str, name: str, value: KeyEntry | ModelEntry | ServerEntry | None) -> None:
        with self.changed:
            self.revision += 1
            packed = None if value is None else encode_value(value)
            self.entries[kind, name] = Entry(kind, name, self.revision, packed)
            self.changed.notify_all()

    def set_key(self, name: str) -> None:
        self.set_entry("key", name, KeyEntry(1, b"digest", "organisation", "project"))

    def envelope(self, since: int, instance: str, wait_s: float) -> bytes | None:
        deadline = time.monotonic() + wait_s
        with self.changed:
            if instance != self.instance or since > self.revision:
                since = 0
            while since == self.revision and time.monotonic() < deadline:
                if not self.running:
                    raise ConnectionAbortedError
                self.changed.wait(0.05)
            if since == self.revision:
                return None
            newer = [entry for entry in self.entries.values() if entry.revision > since]
            claimed = since + self.skip_revisions if since else 0
            payload = encode_snapshot(self.instance, claimed, self.revision + self.skip_revisions, newer)
        return self.tamper(self._signer.sign(payload))

    def count(self, batch: UsageBatch) -> bool:
        with self.changed:
            known = (batch.journal, batch.number) in self.batches
            self.duplicates += known
            if not known:
                self.batches[batch.journal, batch.number] = batch
                self.counted["requests"] += sum(row.requests for row in batch.rows)
            self.changed.notify_all()
            return known


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], control: ControlStandIn) -> None:
        self.control = control
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        control = self.server.control
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        since = int(query["since"])
        if not self._allowed():
            return
        control.on_poll(since)
        control.polls.append(since)
        try:
            envelope = control.envelope(since, query.get("instance", ""), float(query["wait"]))
        except ConnectionAbortedError:
            self.close_connection = True
            return
        self._answer(204 if envelope is None else 200, envelope or b"")

    def do_POST(self) -> None:
        control = self.server.control
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._allowed():
            return
        fault = control.usage_faults.pop(0) if control.usage_faults else ""
        if fault == "refuse":
            self._answer(503, b"busy")
            return
        duplicate = control.count(decode_batch(body))
        if fault == "drop":
            self.close_connection = True
            return
        self._answer(200, b'{"duplicate": true}' if duplicate else b'{"duplicate": false}')

    def _allowed(self) -> bool:
        control = self.server.control
        if not control.running:
            self.close_connection = True
            return False
        if self.headers["Authorization"] != f"Bearer {control.token}":
            self._answer(401, b"unknown token")
            return False
        assert self.headers["X-Gateway-Name"] == "gateway-1"
        assert self.headers["X-Gateway-Release"]
        return True

    def _answer(self, status: int, body: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # a gateway that was killed
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass
