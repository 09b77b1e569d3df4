"""Carrying out an import, by one worker at a time."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO, cast

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.env import control_settings
from controlplane.registry.artifacts import StoredArtifact, artifact_store
from controlplane.registry.domain import ImportState, VersionState
from controlplane.registry.errors import ArtifactRefusedError, UploadTooLargeError
from controlplane.registry.import_jobs.server_paths import open_server_files
from controlplane.registry.import_jobs.services import claimable
from controlplane.registry.importing import VersionDraft, discard_draft, import_version
from controlplane.registry.models import ModelVersion, VersionImport
from controlplane.registry.uploads.services import full_disk_in_words
from controlplane.wire.errors import ControlPlaneError

logger = logging.getLogger(__name__)

HEARTBEAT_S = 3.0
REPORT_S = 1.0
"""How often progress is written down, and a wish to cancel is noticed."""


class CancelledError(ControlPlaneError):
    """Staff cancelled the import."""

    code = "import.cancelled"


class TakenOverError(ControlPlaneError):
    """Another worker has this import now; this one must not write any more."""

    code = "import.taken_over"


def run_import(import_id: int) -> ImportState | None:
    """Carries out an import from its beginning; what a dead worker left half-done is done again.

    Returns:
        How it ended; None when another worker has it, or there is nothing to do.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    job = _claim(import_id, worker)
    if job is None:
        return None
    logger.info("import %s: %s begins, attempt %s", job.pk, job, job.attempt)
    progress = Progress(job.pk, worker)
    with _heartbeat(job.pk, worker):
        try:
            state, error = _carry_out(job, progress)
        except TakenOverError:
            logger.warning("import %s was taken over by another worker", job.pk)
            return None
        return _finish(job, worker, state, error)


class Progress:
    """Writes down how far an import has come, and lets it go no further than it may."""

    def __init__(self, import_id: int, worker: str) -> None:
        self._row = VersionImport.objects.filter(pk=import_id, worker=worker, state=ImportState.RUNNING)
        self._bytes_done = 0
        self._reported_at = 0.0

    def say(self, message: str, *, total_bytes: int | None = None) -> None:
        """What is being done from here on.

        Raises:
            CancelledError: staff asked for its end.
            TakenOverError: another worker has it.
        """
        self._report({"message": message} | ({} if total_bytes is None else {"bytes_total": total_bytes}))

    def add(self, count: int) -> None:
        """So many bytes more are done; raises as `say`."""
        self._bytes_done += count
        if time.monotonic() - self._reported_at >= REPORT_S:
            self._report({})

    def drafted(self, version: ModelVersion) -> None:
        """The version exists as a draft; whoever comes after this worker must know. Raises as `say`."""
        self._report({"version": version, "message": "inspecting the files"})

    def _report(self, values: Mapping[str, object]) -> None:
        self._reported_at = time.monotonic()
        if not self._row.update(bytes_done=self._bytes_done, **values):
            raise TakenOverError("Another worker has this import.")
        if self._row.filter(cancel_requested=True).exists():
            raise CancelledError("The import was cancelled.")


def _carry_out(job: VersionImport, progress: Progress) -> tuple[ImportState, ControlPlaneError | None]:
    try:
        _import(job, progress)
    except TakenOverError:
        raise
    except CancelledError:
        return ImportState.CANCELLED, None
    except ControlPlaneError as error:
        return ImportState.FAILED, error
    except Exception as error:
        logger.exception("import %s broke", job.pk)
        message = f"The import broke ({type(error).__name__}); the worker's log has the details."
        return ImportState.FAILED, ControlPlaneError(message, code="import.internal")
    return ImportState.SUCCEEDED, None


def _import(job: VersionImport, progress: Progress) -> None:
    if job.version is not None and job.version.state == VersionState.DRAFT:
        discard_draft(job.version)  # a worker died while it inspected this one
    elif job.version is not None and job.version.state != VersionState.FAILED:
        return  # a worker died after its last step
    permissions = frozenset({str(Permission.MANAGE_MODELS.value)})  # asked for when the import was
    actor = Actor(job.requested_by, permissions, job.requested_by_user_id)
    draft = VersionDraft(
        semver=job.semver,
        files=_gather(job, progress),
        golden_samples=job.golden_samples,
        metrics=job.metrics,
        dataset_notes=job.dataset_notes,
        source=job.source or job.server_path,
    )
    import_version(actor, model=job.model, draft=draft, drafted=progress.drafted)


def _gather(job: VersionImport, progress: Progress) -> dict[str, StoredArtifact]:
    """Every file of the version, in the store."""
    if job.server_path:
        return _copy_server_files(job.server_path, progress)
    stored = {path: StoredArtifact(file["sha256"], file["size_bytes"]) for path, file in job.files.items()}
    progress.add(sum(file.size_bytes for file in stored.values()))
    progress.say("reading the files")
    return stored


def _copy_server_files(path: str, progress: Progress) -> dict[str, StoredArtifact]:
    settings, store = control_settings(), artifact_store()
    with open_server_files(path, settings.import_paths) as files:
        total_bytes = sum(files.sizes.values())
        if total_bytes > settings.upload_max_bytes:
            raise UploadTooLargeError(
                f"The files have {total_bytes} bytes together; at most {settings.upload_max_bytes} are imported."
            )
        progress.say("copying the files", total_bytes=total_bytes)
        stored = {}
        for name in files.sizes:
            with files.open(name) as file, full_disk_in_words():
                stored[name] = store.put(cast(BinaryIO, _Counted(file, progress)))
        return stored


class _Counted(io.RawIOBase):
    """A file whose every piece is progress."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._progress.add(len(piece))
        return piece


def _claim(import_id: int, worker: str) -> VersionImport | None:
    claimed = VersionImport.objects.filter(claimable(), pk=import_id).update(
        state=ImportState.RUNNING, worker=worker, heartbeat_at=timezone.now(), attempt=F("attempt") + 1
    )
    if not claimed:
        return None
    return VersionImport.objects.select_related("model", "version").get(pk=import_id)


@contextmanager
def _heartbeat(import_id: int, worker: str) -> Iterator[None]:
    """Says every few seconds that this worker lives, also while a large file is hashed."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_S):
            VersionImport.objects.filter(pk=import_id, worker=worker).update(heartbeat_at=timezone.now())
        connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-import-{import_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@transaction.atomic
def _finish(job: VersionImport, worker: str, state: ImportState, error: ControlPlaneError | None) -> ImportState | None:
    findings = error.details.get("findings", []) if isinstance(error, ArtifactRefusedError) else []
    finished = VersionImport.objects.filter(pk=job.pk, worker=worker, state=ImportState.RUNNING).update(
        state=state,
        message="",
        error=error.message if error else "",
        error_code=error.code if error else "",
        findings=findings,
        finished_at=timezone.now(),
    )
    if finished:
        logger.info("import %s: %s %s %s", job.pk, job, state, error.message if error else "")
    return state if finished else None
