"""Reads of uploads. Everybody sees their own only."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from controlplane.audit.domain import Actor
from controlplane.registry.domain import UploadState
from controlplane.registry.errors import UploadGoneError, UploadNotFoundError
from controlplane.registry.models import Upload

OPEN_STATES = (UploadState.RECEIVING, UploadState.COMPLETE)


def list_uploads(actor: Actor) -> QuerySet[Upload]:
    """The actor's uploads, newest first."""
    return Upload.objects.filter(owner_id=actor.user_id).order_by("-created_at")


def get_upload(actor: Actor, upload_id: UUID) -> Upload:
    """The actor's upload of that id.

    Raises:
        UploadNotFoundError: the actor has none; that another person has one is not told.
    """
    upload = list_uploads(actor).filter(pk=upload_id).first()
    if upload is None:
        raise UploadNotFoundError("You have no such upload; start a new one.")
    return upload


def require_not_gone(upload: Upload) -> None:
    """Lets an upload pass that still takes bytes or has them all.

    Raises:
        UploadGoneError: it expired or failed.
    """
    if upload.has_expired:
        raise UploadGoneError("This upload has expired; start a new one.", details={"state": UploadState.EXPIRED})
    if upload.state == UploadState.FAILED:
        raise UploadGoneError(f"This upload failed: {upload.failure}", details={"state": upload.state})
