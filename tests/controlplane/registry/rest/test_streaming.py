"""Bodies on their way through a real web process: flat memory, crashes of either side, full disks."""

from __future__ import annotations

import base64
import hashlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.web import Web, running_web, web

__all__ = ["web"]

MIB = 1024 * 1024
PATIENCE_S = 20.0


@pytest.fixture
def own_web(tmp_path: Path) -> Iterator[Web]:
    """A control plane of this test alone, which may be killed."""
    with running_web(tmp_path) as process:
        yield process


def headers_of(web: Web, **more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Authorization": f"Bearer {web.admin_token}", "Tus-Resumable": "1.0.0"} | named


def announce(web: Web, content: bytes | None = None, *, length: int | None = None) -> str:
    more = {"Upload_Length": str(len(content or b"") if length is None else length)}
    if content is not None:
        digest = hashlib.sha256(content).hexdigest().encode()
        more["Upload_Metadata"] = f"sha256 {base64.b64encode(digest).decode()}"
    answer = httpx.post(f"{web.url}/api/uploads", headers=headers_of(web, **more), trust_env=False)
    assert answer.status_code == 201, answer.text
    return web.url + str(answer.headers["Location"])


def patch(web: Web, url: str, offset: int, content: bytes | Iterator[bytes], **more: str) -> httpx.Response:
    headers = headers_of(web, Upload_Offset=str(offset), Content_Type="application/offset+octet-stream", **more)
    return httpx.patch(url, headers=headers, content=content, trust_env=False, timeout=120)


def offset_of(web: Web, url: str) -> int:
    return int(httpx.head(url, headers=headers_of(web), trust_env=False).headers["Upload-Offset"])


def sha256_of(web: Web, url: str) -> str:
    upload = httpx.get(url, headers=headers_of(web), trust_env=False).json()
    assert upload["state"] == "complete"
    return str(upload["sha256"])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class OpenPatch:
    """A PATCH whose body never ends by itself, on a connection of its own."""

    def __init__(self, web: Web, url: str, offset: int, length: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._socket = socket.create_connection((parts.hostname, parts.port or 80))
        headers = headers_of(
            web,
            Host=parts.netloc,
            Upload_Offset=str(offset),
            Content_Type="application/offset+octet-stream",
            Content_Length=str(length),
        )
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"PATCH {parts.path} HTTP/1.1\r\n{head}\r\n".encode())

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def close(self) -> None:
        self._socket.close()


def _grows_by(web: Web, length: int) -> tuple[int, float]:
    """How many bytes the server's memory grew by while it took in a file, and the MB/s."""
    server = psutil.Process(web.process.pid)
    url = announce(web, length=length)
    patch(web, announce(web, b"warm"), 0, b"warm")
    before = peak = server.memory_info().rss
    piece = os.urandom(MIB)

    def pieces() -> Iterator[bytes]:
        nonlocal peak
        for _ in range(length // MIB):
            peak = max(peak, server.memory_info().rss)
            yield piece

    started = time.monotonic()
    answer = patch(web, url, 0, pieces(), Content_Length=str(length))
    seconds = time.monotonic() - started
    assert answer.status_code == 204, answer.text
    digest = hashlib.sha256()
    for _ in range(length // MIB):
        digest.update(piece)
    assert sha256_of(web, url) == digest.hexdigest()
    return max(peak, server.memory_info().rss) - before, length / MIB / seconds


def test_memory_stays_flat(own_web: Web) -> None:
    growth, _ = _grows_by(own_web, 64 * MIB)
    assert growth < 32 * MIB


@pytest.mark.slow
def test_memory_stays_flat_for_a_gigabyte(own_web: Web) -> None:
    growth, mb_per_s = _grows_by(own_web, 1024 * MIB)
    print(f"1 GB: server grew by {growth / MIB:.1f} MB, {mb_per_s:.0f} MB/s")  # noqa: T201 - for -s
    assert growth < 150 * MIB


def test_nothing_is_written_twice(own_web: Web, tmp_path: Path) -> None:
    """All that the server wrote, to whatever file, is the upload itself and some rows."""
    server = psutil.Process(own_web.process.pid)
    url = announce(own_web, length=64 * MIB)
    before = server.io_counters().write_chars

    patch(own_web, url, 0, bytes(64 * MIB))

    assert server.io_counters().write_chars - before < 66 * MIB


def test_a_body_without_a_length_is_taken_too(web: Web) -> None:
    content = os.urandom(3 * MIB)
    url = announce(web, content)

    answer = patch(web, url, 0, iter([content[:MIB], content[MIB:]]))

    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(content)))


def test_a_post_may_stand_for_another_method(web: Web) -> None:
    content = b"weights"
    url = announce(web, content)
    headers = headers_of(
        web, X_HTTP_Method_Override="PATCH", Upload_Offset="0", Content_Type="application/offset+octet-stream"
    )

    assert httpx.post(url, headers=headers, content=content, trust_env=False).status_code == 204
    assert sha256_of(web, url) == hashlib.sha256(content).hexdigest()


def test_a_refusal_comes_before_the_body_is_asked_for(web: Web) -> None:
    url = announce(web, length=100 * MIB)
    stranger = OpenPatch(web, url, 7, 50 * MIB)

    assert stranger._socket.recv(1000).startswith(b"HTTP/1.1 409")
    stranger.close()


def test_a_client_that_leaves_loses_nothing_that_arrived(web: Web) -> None:
    content = os.urandom(8 * MIB)
    url = announce(web, content)
    leaving = OpenPatch(web, url, 0, len(content))
    leaving.send(content[: 5 * MIB])
    wait_for(lambda: offset_of(web, url) >= 4 * MIB, "the bytes did not arrive")
    leaving.close()

    def resume() -> bool:
        offset = offset_of(web, url)
        return patch(web, url, offset, content[offset:]).status_code == 204

    wait_for(resume, "the upload could not be resumed")
    assert sha256_of(web, url) == hashlib.sha256(content).hexdigest()


def test_two_writers_do_not_mix(web: Web) -> None:
    content = os.urandom(4 * MIB)
    url = announce(web, content)
    first = OpenPatch(web, url, 0, len(content))
    first.send(content[:MIB])
    wait_for(lambda: offset_of(web, url) == MIB, "the bytes did not arrive")

    second = patch(web, url, MIB, content[MIB:])

    assert (second.status_code, second.json()["error"]["code"]) == (423, "upload.busy")
    assert httpx.delete(url, headers=headers_of(web), trust_env=False).status_code == 423
    first.send(content[MIB:])
    wait_for(lambda: offset_of(web, url) == len(content), "the first writer was disturbed")
    wait_for(lambda: patch(web, url, len(content), b"").status_code == 204, "the upload is not complete")
    assert sha256_of(web, url) == hashlib.sha256(content).hexdigest()
    first.close()


def test_of_many_writers_at_the_same_place_one_wins(web: Web) -> None:
    contents = [bytes([number]) * MIB for number in range(6)]
    url = announce(web, length=2 * MIB)

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(lambda content: patch(web, url, 0, content).status_code, contents))

    assert statuses[0] == 204
    assert set(statuses[1:]) <= {409, 423}
    assert offset_of(web, url) == MIB


def test_a_killed_server_goes_on_where_it_stopped(own_web: Web) -> None:
    content = os.urandom(16 * MIB)
    url = announce(own_web, content)
    cut_off = OpenPatch(own_web, url, 0, len(content))
    cut_off.send(content[: 9 * MIB])
    wait_for(lambda: offset_of(own_web, url) >= 8 * MIB, "the bytes did not arrive")

    with own_web.killed_and_started_again() as again:
        cut_off.close()
        offset = offset_of(again, url)
        assert 8 * MIB <= offset <= 9 * MIB
        assert patch(again, url, offset, content[offset:]).status_code == 204
        assert sha256_of(again, url) == hashlib.sha256(content).hexdigest()


def test_a_full_disk_is_said_and_the_offset_kept(own_web: Web) -> None:
    """The process may write files of 4 MiB only: the kernel refuses exactly as a full disk does, with a short write."""
    content = os.urandom(6 * MIB)
    url = announce(own_web, content)
    unlimited = resource.prlimit(own_web.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(own_web.process.pid, resource.RLIMIT_FSIZE, (4 * MIB, unlimited[1]))

    full = patch(own_web, url, 0, content)

    assert (full.status_code, full.json()["error"]["code"]) == (507, "store.full")
    assert offset_of(own_web, url) == 4 * MIB
    resource.prlimit(own_web.process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert patch(own_web, url, 4 * MIB, content[4 * MIB :]).status_code == 204
    assert sha256_of(own_web, url) == hashlib.sha256(content).hexdigest()


def test_other_requests_are_answered_while_an_upload_goes_on(web: Web) -> None:
    uploads = [OpenPatch(web, announce(web, length=MIB), 0, MIB) for _ in range(20)]
    for upload in uploads:
        upload.send(b"x" * 1000)

    started = time.monotonic()
    assert httpx.get(f"{web.url}/api/me", headers=headers_of(web), trust_env=False).status_code == 200

    assert time.monotonic() - started < 2
    for upload in uploads:
        upload.close()


def test_no_secret_reaches_the_log(own_web: Web) -> None:
    url = announce(own_web, b"weights")
    patch(own_web, url, 3, b"weights")
    patch(own_web, url, 0, b"weights")
    patch(own_web, url, 0, b"weights", Cookie="sessionid=s3cr3t-session")
    own_web.process.send_signal(signal.SIGTERM)
    own_web.process.wait(PATIENCE_S)

    log = own_web.log.read_text()

    assert "PATCH" in log
    assert own_web.admin_token not in log
    assert "s3cr3t-session" not in log
    assert "Traceback" not in log
