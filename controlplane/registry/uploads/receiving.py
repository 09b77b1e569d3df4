"""Taking in the bytes of an upload.

They go straight to the file that will be the artifact, from one writer at a time. How far the upload has come is the
size of that file, and nothing else, so a crash leaves nothing to reconcile. The SHA-256 is computed once, from the
disk, when the last byte is there: Python cannot carry a half-done digest over to another process, requests of one
upload may reach different ones, and what is read back is what will be served. It costs about 0.6 s for each GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from django.db import connection, transaction
from django.utils import timezone

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import record
from controlplane.registry.domain import UploadState
from controlplane.registry.errors import (
    DigestMismatchError,
    UploadBrokenOffError,
    UploadBusyError,
    UploadNotFoundError,
    UploadOffsetError,
    UploadTooLargeError,
)
from controlplane.registry.incoming import IncomingWriter
from controlplane.registry.models import Upload
from controlplane.registry.uploads.selectors import require_not_gone
from controlplane.registry.uploads.services import exclusively, full_disk_in_words, next_expiry
from controlplane.wire.errors import ControlPlaneError

PIECE_BYTES = 1024 * 1024


class ByteSource(Protocol):
    """Where the bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            OSError: they stopped coming before the end.
        """
        ...


@dataclass(frozen=True, slots=True)
class Checksum:
    """The digest of the bytes of one request, as their sender computed it."""

    algorithm: str
    digest: bytes


def receive_bytes(
    actor: Actor,
    *,
    upload: Upload,
    offset: int,
    source: ByteSource,
    size_bytes: int | None = None,
    checksum: Checksum | None = None,
) -> Upload:
    """Appends what `source` yields to an upload; what arrived stays, also when the source breaks off.

    With the last byte the upload becomes complete, if it is what its sender meant to send.

    Args:
        actor: who sends.
        upload: whereto.
        offset: where the sender believes the upload has come to.
        source: the bytes.
        size_bytes: how many will come, if that is known.
        checksum: what they must add up to; if they do not, none of them is kept.

    Returns:
        The upload, with its new offset.

    Raises:
        PermissionMissingError: the actor may not manage models.
        UploadGoneError: the upload expired or failed.
        UploadBusyError: another request writes to it.
        UploadOffsetError: it has come to another place.
        UploadTooLargeError: more bytes come than were announced.
        UploadBrokenOffError: the source broke off.
        DigestMismatchError: the checksum, or at the end the file's SHA-256, is another one.
        StoreFullError: the disk is full.
    """
    actor.require(Permission.MANAGE_MODELS)
    require_not_gone(upload)
    if upload.state != UploadState.RECEIVING:
        # Whoever did not hear that the upload is complete may say the last word again.
        _check_position(upload, upload.length, offset, size_bytes)
        return upload
    with exclusively(upload.pk) as writer:
        _refresh(upload, writer)
        _check_position(upload, writer.size, offset, size_bytes)
        if not connection.in_atomic_block:
            connection.close()  # an upload may take an hour, and there are fewer connections than people
        with _keeping_track(upload, writer):
            _append(writer, upload, source, checksum)
        if writer.size == upload.length:
            _complete(actor, upload, writer)
    return upload


def _refresh(upload: Upload, writer: IncomingWriter) -> None:
    """Reads the upload again, now that nobody else can change it."""
    try:
        upload.refresh_from_db()
    except Upload.DoesNotExist:
        writer.remove()
        raise UploadNotFoundError("This upload was deleted just now.") from None
    require_not_gone(upload)
    if upload.state != UploadState.RECEIVING:
        raise UploadBusyError("Another request completed this upload just now.")


def _check_position(upload: Upload, position: int, offset: int, size_bytes: int | None) -> None:
    if offset != position:
        raise UploadOffsetError(
            f"The upload has come to byte {position}, not {offset}; go on from there.", details={"offset": position}
        )
    if size_bytes is not None and offset + size_bytes > upload.length:
        raise _too_long(upload)


@contextmanager
def _keeping_track(upload: Upload, writer: IncomingWriter) -> Iterator[None]:
    """Makes what has arrived durable however receiving it ends, and gives the upload new time."""
    try:
        yield
    finally:
        with full_disk_in_words():
            writer.sync()
        upload.expires_at = next_expiry()
        Upload.objects.filter(pk=upload.pk, state=UploadState.RECEIVING).update(expires_at=upload.expires_at)


def _append(writer: IncomingWriter, upload: Upload, source: ByteSource, checksum: Checksum | None) -> None:
    start = position = writer.size
    digest = hashlib.new(checksum.algorithm) if checksum else None
    try:
        while piece := _read(source):
            position += len(piece)
            if position > upload.length:
                raise _too_long(upload)
            if digest:
                digest.update(piece)
            with full_disk_in_words():
                writer.append(piece)
        if checksum and digest and digest.digest() != checksum.digest:
            raise DigestMismatchError(
                "These bytes do not have the checksum that came with them; none was kept. Send them again.",
                code="upload.checksum_mismatch",
            )
    except ControlPlaneError as error:
        # Bytes whose checksum could not be verified are as good as none. All others are kept.
        if checksum or isinstance(error, UploadTooLargeError):
            writer.cut(start)
        raise


def _read(source: ByteSource) -> bytes:
    try:
        return source.read(PIECE_BYTES)
    except OSError:
        raise UploadBrokenOffError("The bytes stopped coming; go on from the upload's offset.") from None


def _complete(actor: Actor, upload: Upload, writer: IncomingWriter) -> None:
    with full_disk_in_words():
        upload.sha256 = writer.seal()
    if upload.expected_sha256 and upload.sha256 != upload.expected_sha256:
        upload.failure = f"its SHA-256 is {upload.sha256}, not {upload.expected_sha256}; send it again from its start."
        Upload.objects.filter(pk=upload.pk).update(state=UploadState.FAILED, failure=upload.failure)
        writer.remove()
        raise DigestMismatchError(
            f"The file was not taken: {upload.failure}", details={"sha256": upload.sha256, "state": UploadState.FAILED}
        )
    upload.state, upload.completed_at = UploadState.COMPLETE, timezone.now()
    with transaction.atomic():
        upload.save(update_fields=["state", "sha256", "completed_at"])
        record(
            actor,
            action="registry.complete_upload",
            target=upload,
            after={"sha256": upload.sha256, "length": upload.length},
        )


def _too_long(upload: Upload) -> UploadTooLargeError:
    return UploadTooLargeError(
        f"These are more bytes than the {upload.length} that were announced; none of this request was kept.",
        code="upload.too_long",
    )
