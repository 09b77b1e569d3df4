"""Asking for imports, and for their end. `runner` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import enqueue_after_commit, record
from controlplane.env import control_settings
from controlplane.registry.domain import IMPORT_HEARTBEAT_TIMEOUT_S, ImportState
from controlplane.registry.errors import ImportNotFoundError, ImportStateError
from controlplane.registry.import_jobs.server_paths import check_allowed
from controlplane.registry.importing import check_draft
from controlplane.registry.models import RegisteredModel, VersionImport
from controlplane.registry.uploads import use_upload

RUN_TASK = "registry.run_import"
HAND_OUT_AGAIN_S = 60.0
"""How long an import that nobody took up waits until workers are told of it again."""


@dataclass(frozen=True)
class NewImport:
    """What to import, and from where: either `uploads` or `server_path`.

    Attributes:
        uploads: path inside the version's folder -> the upload that holds its bytes; one may serve several paths.
        server_path: a file or folder as the workers see it, inside one of CONTROLPLANE_IMPORT_PATHS.
    """

    semver: str
    uploads: Mapping[str, UUID] = field(default_factory=dict)
    server_path: str = ""
    golden_samples: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    dataset_notes: str = ""
    source: str = ""


def list_imports(*, model: str = "", state: str = "") -> QuerySet[VersionImport]:
    """Imports, newest first; of one model and in one state, if these are given."""
    imports = VersionImport.objects.select_related("model", "version").order_by("-id")
    exact = {"model__slug": model, "state": state}
    return imports.filter(**{name: value for name, value in exact.items() if value})


def get_import(import_id: int) -> VersionImport:
    """The import of that id.

    Raises:
        ImportNotFoundError: there is none.
    """
    job = list_imports().filter(pk=import_id).first()
    if job is None:
        raise ImportNotFoundError(f"There is no import {import_id}.")
    return job


@transaction.atomic
def request_import(actor: Actor, *, model: RegisteredModel, new: NewImport) -> VersionImport:
    """Asks for a version to be imported. What can be judged without its bytes is judged now.

    Raises:
        PermissionMissingError: the actor may not manage models.
        InvalidNameError: the semver is none.
        AlreadyExistsError: the model has a usable version of that semver.
        ArtifactRefusedError: a file's name is not safe, there is no graph, or a golden sample cannot be read.
        UploadNotFoundError, UploadGoneError, UploadStateError: an upload cannot be used.
        ImportPathError: the path is not in one of the folders that may be imported from.
        ImportStateError: an import of this version is under way.
    """
    actor.require(Permission.MANAGE_MODELS)
    if new.server_path:
        check_allowed(new.server_path, control_settings().import_paths)
    paths = None if new.server_path else new.uploads
    check_draft(model, semver=new.semver, golden_samples=new.golden_samples, paths=paths)
    used = {upload_id: use_upload(actor, upload_id=upload_id) for upload_id in set(new.uploads.values())}
    stored = {path: used[upload_id] for path, upload_id in new.uploads.items()}
    try:
        with transaction.atomic():
            job = VersionImport.objects.create(
                model=model,
                semver=new.semver,
                files={path: {"sha256": file.sha256, "size_bytes": file.size_bytes} for path, file in stored.items()},
                bytes_total=sum(file.size_bytes for file in stored.values()),
                server_path=new.server_path,
                golden_samples=new.golden_samples,
                metrics=new.metrics,
                dataset_notes=new.dataset_notes,
                source=new.source,
                handed_out_at=timezone.now(),
                requested_by=actor.name,
                requested_by_user_id=actor.user_id,
            )
    except IntegrityError:
        raise ImportStateError(
            f"An import of {model.slug}@{new.semver} is under way; wait for it or cancel it.", code="import.under_way"
        ) from None
    record(
        actor,
        action="registry.request_import",
        target=job,
        after={"files": sorted(new.uploads), "server_path": new.server_path},
    )
    enqueue_after_commit(RUN_TASK, job.pk)
    return job


@transaction.atomic
def retry_import(actor: Actor, *, job: VersionImport) -> VersionImport:
    """Runs a failed or cancelled import again.

    Raises:
        PermissionMissingError: the actor may not manage models.
        ImportStateError: it did not fail, or another one of the same version is under way.
    """
    actor.require(Permission.MANAGE_MODELS)
    ended = (ImportState.FAILED, ImportState.CANCELLED)
    try:
        with transaction.atomic():
            changed = VersionImport.objects.filter(pk=job.pk, state__in=ended).update(
                state=ImportState.QUEUED,
                message="",
                error="",
                error_code="",
                findings=[],
                bytes_done=0,
                finished_at=None,
                cancel_requested=False,
                handed_out_at=timezone.now(),
            )
    except IntegrityError:
        raise ImportStateError(f"Another import of {job} is under way.", code="import.under_way") from None
    if not changed:
        raise ImportStateError(f"Import {job.pk} did not fail; there is nothing to retry.")
    record(actor, action="registry.retry_import", target=job)
    enqueue_after_commit(RUN_TASK, job.pk)
    return get_import(job.pk)


@transaction.atomic
def cancel_import(actor: Actor, *, job: VersionImport) -> VersionImport:
    """Asks an import to stop before its next step; one that waits is cancelled at once.

    Raises:
        PermissionMissingError: the actor may not manage models.
        ImportStateError: it has ended.
    """
    actor.require(Permission.MANAGE_MODELS)
    this = VersionImport.objects.filter(pk=job.pk)
    waiting = this.filter(state=ImportState.QUEUED).update(state=ImportState.CANCELLED, finished_at=timezone.now())
    if not waiting and not this.filter(state=ImportState.RUNNING).update(cancel_requested=True):
        raise ImportStateError(f"Import {job.pk} has ended; there is nothing to cancel.")
    record(actor, action="registry.cancel_import", target=job)
    return get_import(job.pk)


def claimable() -> Q:
    """Which imports a worker may take: waiting ones, and running ones whose worker fell silent."""
    silent_since = timezone.now() - timedelta(seconds=IMPORT_HEARTBEAT_TIMEOUT_S)
    return Q(state=ImportState.QUEUED) | Q(state=ImportState.RUNNING, heartbeat_at__lt=silent_since)


@transaction.atomic
def hand_out_imports() -> int:
    """Tells the workers again of imports that nobody took up; returns how many. A taken one does no harm."""
    told_before = timezone.now() - timedelta(seconds=HAND_OUT_AGAIN_S)
    due = VersionImport.objects.filter(claimable()).filter(Q(handed_out_at=None) | Q(handed_out_at__lt=told_before))
    ids = list(due.values_list("pk", flat=True))
    VersionImport.objects.filter(pk__in=ids).update(handed_out_at=timezone.now())
    for import_id in ids:
        enqueue_after_commit(RUN_TASK, import_id)
    return len(ids)
