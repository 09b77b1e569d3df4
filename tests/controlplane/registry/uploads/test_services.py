"""What becomes of uploads: used once, or expired."""

from __future__ import annotations

import io
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from controlplane.accounts.domain import Role
from controlplane.accounts.models import User
from controlplane.audit.domain import Actor, system_actor
from controlplane.audit.errors import PermissionMissingError
from controlplane.env import control_settings
from controlplane.registry.artifacts import artifact_store
from controlplane.registry.domain import UploadState
from controlplane.registry.errors import (
    UploadBrokenOffError,
    UploadBusyError,
    UploadGoneError,
    UploadNotFoundError,
    UploadStateError,
)
from controlplane.registry.models import Upload
from controlplane.registry.uploads import create_upload, expire_uploads, receive_bytes, terminate_upload, use_upload
from controlplane.registry.uploads.services import ORPHAN_AGE_S

BYTES = b"weights of a model"
INCOMING = control_settings().artifacts / "incoming" / "uploads"


class BreakingOff(io.BytesIO):
    """A sender who leaves when all that it holds is read."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size) or self._leave()

    def _leave(self) -> bytes:
        raise ConnectionAbortedError("the sender left")


def person(name: str = "ana") -> Actor:
    user, _ = User.objects.get_or_create(username=name, defaults={"role": Role.DEVELOPER})
    return user.as_actor()


def uploaded(actor: Actor, content: bytes = BYTES, *, length: int | None = None) -> Upload:
    upload = create_upload(actor, length=len(content) if length is None else length)
    return receive_bytes(actor, upload=upload, offset=0, source=io.BytesIO(content))


def test_what_came_before_a_sender_left_is_kept(db: None) -> None:
    upload = create_upload(person(), length=len(BYTES))

    with pytest.raises(UploadBrokenOffError):
        receive_bytes(person(), upload=upload, offset=0, source=BreakingOff(BYTES[:7]))

    assert upload.offset == 7
    assert receive_bytes(person(), upload=upload, offset=7, source=io.BytesIO(BYTES[7:])).state == UploadState.COMPLETE


def test_a_process_has_no_uploads(db: None) -> None:
    with pytest.raises(PermissionMissingError):
        create_upload(system_actor("worker"), length=1)


def test_a_complete_upload_is_used_once_and_lies_in_the_store_then(db: None) -> None:
    upload = uploaded(person())

    artifact = use_upload(person(), upload_id=upload.pk)

    with artifact_store().local(artifact.sha256) as path:
        assert path.read_bytes() == BYTES
    assert not (INCOMING / str(upload.pk)).exists()
    with pytest.raises(UploadStateError, match="used already"):
        use_upload(person(), upload_id=upload.pk)


def test_an_upload_that_is_not_complete_or_not_yours_cannot_be_used(db: None) -> None:
    upload = uploaded(person(), length=100)

    with pytest.raises(UploadStateError, match="not complete"):
        use_upload(person(), upload_id=upload.pk)
    with pytest.raises(UploadNotFoundError):
        use_upload(person("bob"), upload_id=upload.pk)


def test_a_terminated_upload_leaves_the_version_made_of_it(db: None) -> None:
    upload = uploaded(person())
    artifact = use_upload(person(), upload_id=upload.pk)

    terminate_upload(person(), upload=upload)

    assert not Upload.objects.exists()
    assert not (INCOMING / str(upload.pk)).exists()
    with artifact_store().local(artifact.sha256) as path:
        assert path.read_bytes() == BYTES


@pytest.mark.parametrize("length", [len(BYTES), 100])
def test_an_upload_whose_time_is_over_is_removed_complete_or_not(db: None, length: int) -> None:
    upload, fresh = uploaded(person(), length=length), uploaded(person(), length=length)
    Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now())

    with pytest.raises(UploadGoneError):
        use_upload(person(), upload_id=upload.pk)
    assert (expire_uploads(), expire_uploads()) == (1, 0)

    upload.refresh_from_db()
    assert upload.state == UploadState.EXPIRED
    assert not (INCOMING / str(upload.pk)).exists()
    assert (INCOMING / str(fresh.pk)).exists()


def test_an_upload_that_is_being_written_to_is_left_for_the_next_time(db: None) -> None:
    upload = uploaded(person(), length=100)
    Upload.objects.update(expires_at=timezone.now())

    with artifact_store().incoming(str(upload.pk)).writing():
        assert expire_uploads() == 0
        with pytest.raises(UploadBusyError):
            terminate_upload(person(), upload=upload)

    assert expire_uploads() == 1


def test_what_is_over_is_forgotten_after_a_while(db: None) -> None:
    upload = uploaded(person())
    use_upload(person(), upload_id=upload.pk)
    Upload.objects.update(expires_at=timezone.now() - timedelta(days=8))

    expire_uploads()

    assert not Upload.objects.exists()


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "no-id-at-all"])
def test_a_file_without_an_upload_is_removed_when_it_is_old(db: None, name: str) -> None:
    upload = uploaded(person(), length=100)
    orphan = INCOMING / name
    orphan.write_bytes(b"of nobody")
    expire_uploads()
    assert orphan.exists()
    _make_old(orphan)
    _make_old(INCOMING / str(upload.pk))

    expire_uploads()

    assert not orphan.exists()
    assert (INCOMING / str(upload.pk)).exists()


def _make_old(path: Path) -> None:
    then = time.time() - ORPHAN_AGE_S - 1
    os.utime(path, (then, then))
