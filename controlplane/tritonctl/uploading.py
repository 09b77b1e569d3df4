"""Sending large files so that nothing is sent twice, by the tus protocol 1.0.0.

Nothing is remembered on this side: the control plane knows how far each file has come, and a file is known again by its
SHA-256. So an upload goes on after a lost connection, a restart of either side, and from another machine.
"""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from controlplane.tritonctl.client import ControlClient
from controlplane.tritonctl.terminal import plain
from controlplane.wire.errors import ControlPlaneError, UnavailableError

CHUNK_BYTES = 8 * 1024 * 1024
PATIENCE_S = 300.0
"""How long an upload may stand still before it is given up; trying again later goes on where it stopped."""

ANSWER_TIMEOUT_S = 600.0
"""The last answer comes only when the whole file was hashed."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0

_PROTOCOL = {"Tus-Resumable": "1.0.0"}
_COME_BACK = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.LOCKED,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)

Report = Callable[[int], None]


class ResumableUpload:
    """One file on its way to the control plane."""

    def __init__(self, control: ControlClient, file: Path, *, report: Report = lambda _: None) -> None:
        """Prepares the upload of a file.

        Args:
            control: whereto.
            file: what; it must not change meanwhile.
            report: is told how many bytes have arrived, again and again.
        """
        self._control = control
        self._file = file
        self._report = report
        self._length = file.stat().st_size

    def run(self) -> str:
        """Sends what is not there yet; returns the id of the complete upload.

        Raises:
            ControlPlaneError: the control plane refused.
            UnavailableError: it could not be reached for too long.
        """
        sha256 = _sha256(self._file)
        upload_id = self._find(sha256) or self._create(sha256)
        patience = _Patience()
        offset: int | None = None
        furthest = -1
        with self._file.open("rb") as file:
            while True:
                try:
                    if offset is None:
                        offset = self._ask_offset(upload_id)
                        is_complete = False  # its last byte may be there, but nobody said that the file is whole
                    else:
                        offset = self._send(upload_id, offset, _piece(file, offset))
                        is_complete = offset == self._length
                except UnavailableError as error:
                    patience.wait(error)
                    offset = None
                    continue
                if offset > furthest:
                    furthest = offset
                    patience.renew()
                    self._report(offset)
                if is_complete:
                    return upload_id

    def _find(self, sha256: str) -> str | None:
        """An upload of the same bytes that was begun before."""
        for upload in self._control.pages("uploads"):
            same = (upload["expected_sha256"], upload["length"]) == (sha256, self._length)
            if same and upload["state"] in {"receiving", "complete"}:
                return str(upload["id"])
        return None

    def _create(self, sha256: str) -> str:
        metadata = {"filename": self._file.name, "sha256": sha256}
        pairs = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())
        headers = {**_PROTOCOL, "Upload-Length": str(self._length), "Upload-Metadata": ",".join(pairs)}
        answer = self._control.exchange("POST", "uploads", headers=headers)
        return str(answer.json()["id"])

    def _ask_offset(self, upload_id: str) -> int:
        return _offset_of(self._exchange("HEAD", upload_id))

    def _send(self, upload_id: str, offset: int, piece: bytes) -> int:
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        return _offset_of(self._exchange("PATCH", upload_id, headers=headers, content=piece))

    def _exchange(
        self, method: str, upload_id: str, *, headers: dict[str, str] | None = None, content: bytes = b""
    ) -> httpx.Response:
        """One request; what may be better a moment later is an `UnavailableError`."""
        return self._control.exchange(
            method,
            "uploads",
            upload_id,
            headers=_PROTOCOL | (headers or {}),
            content=content,
            timeout_s=ANSWER_TIMEOUT_S,
            come_back=_COME_BACK,
        )


class _Patience:
    """Waits longer and longer between tries, and not for ever."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Something went well."""
        self._pause_s = FIRST_PAUSE_S
        self._until = time.monotonic() + PATIENCE_S

    def wait(self, error: ControlPlaneError) -> None:
        """Waits a moment, or raises the error where patience has ended."""
        if time.monotonic() >= self._until:
            raise error
        time.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients, protects nothing
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)


@contextmanager
def upload_bar(total_bytes: int, *, quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """A bar on stderr over all files together; yields what is told of each file how many of its bytes have arrived."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    arrived: dict[str, int] = {}
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("reading", total=total_bytes)

        def report(name: str, count: int) -> None:
            arrived[name] = count
            progress.update(task, completed=sum(arrived.values()), description=plain(name).plain)

        yield report


def _offset_of(answer: httpx.Response) -> int:
    text = answer.headers.get("Upload-Offset", "")
    if not text.isdecimal():
        raise ControlPlaneError(
            "The control plane answered without an Upload-Offset.", code="control.unexpected_answer"
        )
    return int(text)


def _piece(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(CHUNK_BYTES)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
