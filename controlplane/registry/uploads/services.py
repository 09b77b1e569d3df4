"""Writes to uploads, but for their bytes.

A complete upload stays a file of its own until it is used: only then is it moved into the content store, by a rename.
So what nobody uses is removed when its time is over, and the store holds nothing that belongs to nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.errors import PermissionMissingError
from controlplane.audit.services import record
from controlplane.env import control_settings
from controlplane.registry.artifacts import StoredArtifact, artifact_store
from controlplane.registry.domain import UploadState
from controlplane.registry.errors import (
    StoreFullError,
    TooManyUploadsError,
    UploadBusyError,
    UploadStateError,
    UploadTooLargeError,
)
from controlplane.registry.incoming import IncomingWriter
from controlplane.registry.models import Upload
from controlplane.registry.uploads.selectors import OPEN_STATES, get_upload, list_uploads, require_not_gone

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

ORPHAN_AGE_S = 3600.0
"""A file without an upload is removed only so long after its last byte."""

KEPT_FOR = timedelta(days=7)
"""How long an upload that is over is still told of."""


def create_upload(
    actor: Actor, *, length: int, filename: str = "", metadata: str = "", expected_sha256: str = ""
) -> Upload:
    """Announces a file; its bytes follow with `receive_bytes`.

    The limits per person and on space are judged now; two announcements in the same moment may both pass.

    Raises:
        PermissionMissingError: the actor may not manage models, or is no person.
        UploadTooLargeError: the file is larger than any may be.
        TooManyUploadsError: the actor has too many open uploads.
        StoreFullError: the store has no room for it.
    """
    actor.require(Permission.MANAGE_MODELS)
    if actor.user_id is None:
        raise PermissionMissingError(f"{actor.name} is no person, and uploads belong to people.")
    settings = control_settings()
    if length > settings.upload_max_bytes:
        raise UploadTooLargeError(f"A file may have at most {settings.upload_max_bytes} bytes; this one has {length}.")
    open_ones = list_uploads(actor).filter(state__in=OPEN_STATES, expires_at__gt=timezone.now())
    if open_ones.count() >= settings.uploads_per_person:
        raise TooManyUploadsError(
            f"You have {settings.uploads_per_person} uploads that are not used yet, and more are not allowed; use or "
            "delete some."
        )
    if length > artifact_store().free_bytes():
        raise _store_full()
    with transaction.atomic():
        upload = Upload.objects.create(
            owner_id=actor.user_id,
            filename=filename,
            length=length,
            metadata=metadata,
            expected_sha256=expected_sha256,
            expires_at=next_expiry(),
        )
        record(actor, action="registry.create_upload", target=upload, after={"length": length, "filename": filename})
    return upload


def terminate_upload(actor: Actor, *, upload: Upload) -> None:
    """Forgets an upload and its bytes. What a version was made of stays.

    Raises:
        UploadBusyError: bytes are being written to it at this moment.
    """
    with exclusively(upload.pk) as writer:
        with transaction.atomic():
            record(actor, action="registry.terminate_upload", target=upload, before={"state": upload.state})
            Upload.objects.filter(pk=upload.pk).delete()
        writer.remove()


def use_upload(actor: Actor, *, upload_id: UUID) -> StoredArtifact:
    """Makes a complete upload an artifact; part of a service's transaction.

    If that transaction fails, the upload can be used again: taking a file into the store twice is taking it in once.

    Raises:
        UploadNotFoundError: the actor has no such upload.
        UploadGoneError: it expired or failed.
        UploadStateError: it is not complete, or was used already.
    """
    upload = get_upload(actor, upload_id)
    require_not_gone(upload)
    if not Upload.objects.filter(pk=upload.pk, state=UploadState.COMPLETE).update(state=UploadState.USED):
        reason = (
            "was used already" if upload.state == UploadState.USED else "is not complete; send the rest of it first"
        )
        raise UploadStateError(f"Upload {upload.pk} {reason}.", details={"state": upload.state})
    return artifact_store().take_in(str(upload.pk), upload.sha256)


def expire_uploads() -> int:
    """Removes uploads whose time is over, and files without an upload; returns how many uploads.

    Those that are being written to at this moment are left for the next time.
    """
    now = timezone.now()
    expired = 0
    for upload_id in Upload.objects.filter(state__in=OPEN_STATES, expires_at__lte=now).values_list("pk", flat=True):
        expired += _expire(upload_id)
    _remove_orphans()
    Upload.objects.exclude(state__in=OPEN_STATES).filter(expires_at__lte=now - KEPT_FOR).delete()
    return expired


def next_expiry() -> datetime:
    """When an upload that moved just now is over."""
    return timezone.now() + timedelta(seconds=control_settings().upload_lifetime_s)


@contextmanager
def full_disk_in_words() -> Iterator[None]:
    """Turns what the system says of a full disk into an error that people understand.

    Raises:
        StoreFullError: the disk, or the store's share of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _store_full() from error


@contextmanager
def exclusively(upload_id: UUID) -> Iterator[IncomingWriter]:
    """The only writer of an upload's file, while the context lasts.

    Raises:
        UploadBusyError: somebody else is it.
    """
    with ExitStack() as held:
        try:
            writer = held.enter_context(artifact_store().incoming(str(upload_id)).writing())
        except BlockingIOError:
            raise UploadBusyError("Another request writes to this upload; wait until it has ended.") from None
        yield writer


def _store_full() -> StoreFullError:
    return StoreFullError(
        "The artifact store has no room left. What has arrived is kept; go on when an operator has made room."
    )


def _expire(upload_id: UUID) -> bool:
    try:
        with exclusively(upload_id) as writer:
            due = Upload.objects.filter(pk=upload_id, state__in=OPEN_STATES, expires_at__lte=timezone.now())
            expired = bool(due.update(state=UploadState.EXPIRED))
            if expired:
                writer.remove()
            return expired
    except UploadBusyError:
        return False


def _remove_orphans() -> None:
    store = artifact_store()
    for name in store.incoming_names():
        if store.incoming(name).age_s() < ORPHAN_AGE_S or _belongs(name):
            continue
        try:
            with store.incoming(name).writing() as writer:
                writer.remove()
        except BlockingIOError:
            continue


def _belongs(name: str) -> bool:
    try:
        return Upload.objects.filter(pk=UUID(name), state__in=OPEN_STATES).exists()
    except ValueError:
        return False
