"""`tritonctl model import`: large files, sent once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.tritonctl.client import ControlClient
from controlplane.tritonctl.connection import Connection
from controlplane.tritonctl.uploading import ResumableUpload
from controlplane.wire.errors import ControlPlaneError
from tests.controlplane.tritonctl.conftest import ROOT, Tritonctl
from tests.support.models import scaling_graph, scaling_sample
from tests.support.services import free_port
from tests.support.web import Web, running_web

MIB = 1024 * 1024
PATIENCE_S = 30.0


@pytest.fixture
def model(web: Web) -> str:
    name = f"model-{os.urandom(4).hex()}"
    web.call("POST", "/api/models", json={"slug": name, "title": "A model"})
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version of several files, two of them the same; unlike any other."""
    folder = tmp_path / "digits"
    (folder / "extra").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(scaling_graph(float(int.from_bytes(os.urandom(2)) + 1)))
    (folder / "extra" / "labels.txt").write_bytes(b"same")
    (folder / "extra" / "copy.txt").write_bytes(b"same")
    return folder


class LosingProxy:
    """Passes a connection on to a server and breaks it off after some bytes, again and again."""

    def __init__(self, web: Web, *, after_bytes: int) -> None:
        self._target = int(web.url.rpartition(":")[2])
        self._after_bytes = after_bytes
        self.port = free_port()
        self.lost = 0

    @contextmanager
    def running(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", self.port)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield f"http://127.0.0.1:{self.port}"

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            threading.Thread(target=self._copy, args=(server, client, 2**40), daemon=True).start()
            self._copy(client, server, self._after_bytes)

    def _copy(self, source: socket.socket, target: socket.socket, limit: int) -> None:
        passed = 0
        try:
            while piece := source.recv(65536):
                passed += len(piece)
                if passed > limit:
                    self.lost += 1
                    break
                target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def uploads_of(web: Web) -> list[dict[str, Any]]:
    uploads: list[dict[str, Any]] = web.call("GET", "/api/uploads?page_size=500").json()["results"]
    return uploads


def test_a_file_is_sent_and_its_import_asked_for(tritonctl: Tritonctl, web: Web, model: str, tmp_path: Path) -> None:
    graph, golden, metrics = tmp_path / "any-name.onnx", tmp_path / "golden.json", tmp_path / "metrics.json"
    graph.write_bytes(scaling_graph(float(int.from_bytes(os.urandom(3)))))
    golden.write_text(json.dumps([scaling_sample()]))
    metrics.write_text('{"accuracy": 0.97}')

    job = tritonctl(
        *("model", "import", str(graph), "--model", model, "--version", "1.0.0"),
        *("--golden", str(golden), "--metrics", str(metrics), "--json"),
    ).json

    assert (job["model"], job["version"], job["state"]) == (model, "1.0.0", "queued")
    web.run_import(job["id"])
    version = web.call("GET", f"/api/models/{model}/versions/1.0.0").json()
    assert (version["state"], version["metrics"], version["source"]) == ("validated", {"accuracy": 0.97}, graph.name)


def test_a_folder_is_sent_whole(tritonctl: Tritonctl, web: Web, model: str, folder: Path) -> None:
    outcome = tritonctl("model", "import", str(folder), "--model", model, "--version", "1.0.0")

    assert outcome.status == 0, outcome.stderr
    assert "--wait shows how it goes" in outcome.stdout
    job = web.call("GET", f"/api/imports?model={model}").json()["results"][0]
    web.run_import(job["id"])
    files = web.call("GET", f"/api/models/{model}/versions/1.0.0").json()["files"]
    assert [file["path"] for file in files] == ["extra/copy.txt", "extra/labels.txt", "model.onnx"]


def test_waiting_ends_with_the_import(tritonctl: Tritonctl, web: Web, model: str, tmp_path: Path) -> None:
    (tmp_path / "good.onnx").write_bytes(scaling_graph(77.0))
    (tmp_path / "bad.onnx").write_bytes(b"no graph" + os.urandom(8))
    worker = threading.Thread(target=_work, args=(web, model, 2))
    worker.start()

    good = tritonctl("model", "import", f"{tmp_path}/good.onnx", "--model", model, "--version", "1.0.0", "--wait")
    bad = tritonctl(
        "model", "import", f"{tmp_path}/bad.onnx", "--model", model, "--version", "2.0.0", "--wait", "--json"
    )

    worker.join()
    assert (good.status, good.stdout) == (0, f"{model}@1.0.0 is imported.\n")
    assert bad.error["code"] == "artifact.refused"
    assert bad.error["details"]["findings"]


def _work(web: Web, model: str, count: int) -> None:
    """A worker for the next imports of a model."""
    done: set[int] = set()
    deadline = time.monotonic() + PATIENCE_S
    while len(done) < count and time.monotonic() < deadline:
        for job in web.call("GET", f"/api/imports?model={model}&state=queued").json()["results"]:
            web.run_import(job["id"])
            done.add(job["id"])
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.parent, "neither a graph nor a folder"),
        (lambda path: path.with_suffix(".txt"), "neither a graph nor a folder"),
        (lambda path: (path.mkdir(), (path / "weights.bin").touch()), "neither a graph nor a folder"),
        (lambda path: (path.mkdir(), (path / "model.onnx").touch(), (path / "a").symlink_to("/etc")), "is a link"),
    ],
)
def test_what_is_no_model_is_not_sent(
    tritonctl: Tritonctl, web: Web, model: str, tmp_path: Path, make: Any, message: str
) -> None:
    make(tmp_path / "given")

    outcome = tritonctl("model", "import", str(tmp_path / "given"), "--model", model, "--version", "1.0.0")

    assert outcome.status == 1
    assert message in outcome.stderr


def test_a_version_that_exists_is_refused_before_anything_is_sent(
    tritonctl: Tritonctl, web: Web, tmp_path: Path
) -> None:
    name = web.add_version("1.0.0")
    (tmp_path / "model.onnx").write_bytes(os.urandom(64))
    before = len(uploads_of(web))

    outcome = tritonctl("model", "import", f"{tmp_path}/model.onnx", "--model", name, "--version", "1.0.0")

    assert (outcome.status, len(uploads_of(web))) == (1, before)
    assert "versions never change" in outcome.stderr


def test_a_connection_that_breaks_again_and_again_only_costs_time(web: Web, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(20 * MIB))
    proxy = LosingProxy(web, after_bytes=3 * MIB)
    seen: list[int] = []

    with proxy.running() as url, ControlClient(Connection(url, web.admin_token, "the test")) as control:
        upload_id = ResumableUpload(control, file, report=seen.append).run()

    upload = web.call("GET", f"/api/uploads/{upload_id}").json()
    assert (upload["state"], upload["sha256"]) == ("complete", upload["expected_sha256"])
    assert proxy.lost >= 6
    assert seen == sorted(seen)


def test_a_client_that_was_killed_goes_on_where_it_was(tritonctl: Tritonctl, web: Web, home: Path, model: str) -> None:
    file = home / "large.onnx"
    with file.open("wb") as large:
        for _ in range(256):
            large.write(os.urandom(MIB))
    command = [sys.executable, "-m", "controlplane.tritonctl", "model", "import", str(file)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "CONTROLPLANE_STATE_DIR": str(home / "var")}
    environment |= {"CONTROL_URL": web.url, "ADMIN_TOKEN": web.admin_token}
    with subprocess.Popen([*command, "--model", model, "--version", "1.0.0"], cwd=ROOT, env=environment) as client:
        begun = _upload_beyond(web, file.name, 16 * MIB)
        client.send_signal(signal.SIGKILL)
    assert client.returncode == -signal.SIGKILL

    job = tritonctl("model", "import", str(file), "--model", model, "--version", "1.0.0", "--json").json

    assert job["bytes_total"] == 256 * MIB
    uploads = [upload for upload in uploads_of(web) if upload["filename"] == file.name]
    assert [upload["id"] for upload in uploads] == [begun]
    assert (uploads[0]["state"], uploads[0]["sha256"]) == ("used", uploads[0]["expected_sha256"])


def _upload_beyond(web: Web, filename: str, offset: int) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for upload in uploads_of(web):
            if upload["filename"] == filename and offset < upload["offset"] < upload["length"]:
                return str(upload["id"])
        time.sleep(0.01)
    pytest.fail("the upload did not come so far")


def test_a_server_that_is_killed_and_comes_back_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(128 * MIB))
    reached = threading.Event()
    state_dir = tmp_path / "state"
    state_dir.mkdir()

    def report(offset: int) -> None:
        if offset >= 16 * MIB:
            reached.set()

    with running_web(state_dir) as web, ControlClient(Connection(web.url, web.admin_token, "the test")) as control:
        outcome: list[str] = []
        upload = ResumableUpload(control, file, report=report)
        sender = threading.Thread(target=lambda: outcome.append(upload.run()))
        sender.start()
        assert reached.wait(PATIENCE_S)
        with web.killed_and_started_again() as again:
            sender.join(PATIENCE_S)
            assert outcome, "the upload did not end"
            answer = again.call("GET", f"/api/uploads/{outcome[0]}").json()
    assert (answer["state"], answer["sha256"]) == ("complete", answer["expected_sha256"])


def test_another_persons_token_is_refused_in_words(web: Web, tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(os.urandom(8))
    connection = Connection(web.url, web.tokens["viewer"], "the test")

    with ControlClient(connection) as control, pytest.raises(ControlPlaneError, match="may not do this"):
        ResumableUpload(control, tmp_path / "small.bin").run()
