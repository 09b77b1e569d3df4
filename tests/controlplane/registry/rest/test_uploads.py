"""The tus protocol 1.0.0, MUST by MUST, and who may do what. The bytes' own way is in `test_streaming`."""

from __future__ import annotations

import base64
import hashlib
import re
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from controlplane.accounts.models import User
from controlplane.audit.models import AuditEvent
from controlplane.env import control_settings
from controlplane.registry.artifacts import artifact_store
from controlplane.registry.domain import UploadState
from controlplane.registry.models import Upload
from tests.support.rest import error_of

BYTES = b"weights of a model"
LENGTH = len(BYTES)
V1 = {"Tus-Resumable": "1.0.0"}
OCTETS = "application/offset+octet-stream"


def b64(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def create(client: APIClient, length: Any = LENGTH, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/api/uploads", headers={**V1, "Upload-Length": str(length), **named})


def created(client: APIClient, length: int = LENGTH, **headers: str) -> str:
    answer = create(client, length, **headers)
    assert answer.status_code == 201, answer.content
    return str(answer["Location"])


def patch(client: Any, url: str, offset: Any, body: bytes, content_type: str = OCTETS, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {**V1, "Upload-Offset": str(offset), **named}
    return client.generic("PATCH", url, body, content_type=content_type, headers=given)


def offset_of(client: APIClient, url: str) -> int:
    return int(client.head(url, headers=V1)["Upload-Offset"])


def sha256_of(body: bytes) -> str:
    return f"sha256 {b64(hashlib.sha256(body).hexdigest())}"


def test_a_file_arrives_in_pieces(owner: APIClient) -> None:
    answer = create(owner, Upload_Metadata=f"filename {b64('digits.onnx')},{sha256_of(BYTES)}")

    assert answer.status_code == 201
    assert answer["Tus-Resumable"] == "1.0.0"
    url = answer["Location"]
    for start, end in ((0, 7), (7, 10), (10, len(BYTES))):
        answer = patch(owner, url, start, BYTES[start:end])
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer["Upload-Offset"] == str(end)
        assert answer["Tus-Resumable"] == "1.0.0"

    upload = owner.get(url).json()
    assert (upload["state"], upload["offset"], upload["filename"]) == ("complete", len(BYTES), "digits.onnx")
    assert upload["sha256"] == hashlib.sha256(BYTES).hexdigest()


def test_a_head_says_where_to_go_on_and_is_not_cached(owner: APIClient) -> None:
    metadata = f"filename {b64('digits.onnx')},is_secret"
    url = created(owner, Upload_Metadata=metadata)

    for body, offset in ((b"", 0), (BYTES[:5], 5), (BYTES[5:], len(BYTES))):
        patch(owner, url, offset - len(body), body)
        answer = owner.head(url, headers=V1)
        assert answer.status_code == 200
        assert answer["Upload-Offset"] == str(offset)
        assert answer["Upload-Length"] == str(len(BYTES))
        assert answer["Upload-Metadata"] == metadata
        assert answer["Cache-Control"] == "no-store"
        assert answer["Tus-Resumable"] == "1.0.0"


@pytest.mark.parametrize("path", ["/api/uploads", "/api/uploads/00000000-0000-4000-8000-000000000000"])
@pytest.mark.parametrize("version", ["", "1.0.0", "0.2.2"])
def test_options_tell_a_stranger_what_this_server_can_do(db: None, client: Client, path: str, version: str) -> None:
    answer = client.options(path, headers={"Tus-Resumable": version} if version else {})

    assert answer.status_code == 204
    assert answer["Tus-Version"] == "1.0.0"
    assert {"creation", "termination", "expiration", "checksum"} <= set(answer["Tus-Extension"].split(","))
    assert answer["Tus-Max-Size"] == str(control_settings().upload_max_bytes)
    assert "sha1" in answer["Tus-Checksum-Algorithm"].split(",")


@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_of_the_protocol_is_refused_before_anything_happens(
    owner: Any, method: str, version: str | None
) -> None:
    url = created(owner)
    target = "/api/uploads" if method == "POST" else url
    headers = {"Upload-Offset": "0", "Upload-Length": "5"} | ({"Tus-Resumable": version} if version else {})

    answer = owner.generic(method, target, BYTES, content_type=OCTETS, headers=headers)

    assert answer.status_code == 412
    assert answer["Tus-Version"] == "1.0.0"
    assert answer["Tus-Resumable"] == "1.0.0"
    assert Upload.objects.count() == 1
    assert offset_of(owner, url) == 0


@pytest.mark.parametrize("offset", [1, 4, 6, 100, 10**14])
def test_a_wrong_offset_changes_nothing(owner: APIClient, offset: int) -> None:
    url = created(owner)
    patch(owner, url, 0, BYTES[:5])

    answer = patch(owner, url, offset, b"xx")

    assert answer.status_code == 409
    assert error_of(answer)["code"] == "upload.wrong_offset"
    assert error_of(answer)["details"] == {"offset": 5}
    assert offset_of(owner, url) == 5


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain", "multipart/form-data; boundary=x"])
def test_another_content_type_is_refused(owner: APIClient, content_type: str) -> None:
    url = created(owner)

    answer = patch(owner, url, 0, BYTES, content_type)

    assert answer.status_code == 415
    assert error_of(answer)["code"] == "upload.content_type"
    assert offset_of(owner, url) == 0


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "٣", "9" * 30])
def test_numbers_are_non_negative_integers(owner: APIClient, value: str) -> None:
    url = created(owner)

    assert create(owner, value).status_code == 400
    assert patch(owner, url, value, BYTES).status_code == 400


@pytest.mark.parametrize(
    "metadata",
    ["filename", "filename YQ==,filename YQ==", "filename !", " ,", "sha256 YQ==", "a YQ== YQ==", "x" * 5000],
)
def test_metadata_that_break_the_rules_are_refused(owner: APIClient, metadata: str) -> None:
    answer = create(owner, Upload_Metadata=metadata)

    # A key without a value is allowed by the protocol; the rest is not.
    assert answer.status_code == (201 if metadata == "filename" else 400)


def test_what_does_not_exist_is_not_found(owner: APIClient) -> None:
    url = "/api/uploads/00000000-0000-4000-8000-000000000000"

    for answer in (patch(owner, url, 0, BYTES), owner.head(url, headers=V1), owner.delete(url, headers=V1)):
        assert answer.status_code == 404
        assert "Upload-Offset" not in answer
        assert answer["Tus-Resumable"] == "1.0.0"


def test_a_file_larger_than_any_may_be_is_refused(owner: APIClient) -> None:
    answer = create(owner, control_settings().upload_max_bytes + 1)

    assert answer.status_code == 413
    assert error_of(answer)["code"] == "upload.too_large"


def test_a_file_for_which_there_is_no_room_is_refused_at_once(
    owner: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_settings(), "upload_max_bytes", 2**62)

    answer = create(owner, 10**14)

    assert answer.status_code == 507
    assert error_of(answer)["code"] == "store.full"


def test_more_bytes_than_announced_are_refused_and_none_is_kept(owner: APIClient) -> None:
    url = created(owner)
    patch(owner, url, 0, BYTES[:5])

    answer = patch(owner, url, 5, BYTES)

    assert answer.status_code == 413
    assert offset_of(owner, url) == 5
    assert patch(owner, url, 5, BYTES[5:]).status_code == 204


def test_an_upload_may_begin_with_its_creation(owner: Any) -> None:
    headers = {**V1, "Upload-Length": str(len(BYTES))}

    answer = owner.generic("POST", "/api/uploads", BYTES[:5], content_type=OCTETS, headers=headers)

    assert (answer.status_code, answer["Upload-Offset"]) == (201, "5")
    assert patch(owner, answer["Location"], 5, BYTES[5:]).status_code == 204


def test_an_empty_file_is_complete_at_once(owner: APIClient) -> None:
    assert owner.get(created(owner, 0)).json()["state"] == "complete"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_body_with_its_checksum_is_kept_and_with_another_one_discarded(owner: APIClient, algorithm: str) -> None:
    url = created(owner)
    right = f"{algorithm} {b64(hashlib.new(algorithm, BYTES[:5]).digest())}"

    wrong = patch(owner, url, 0, BYTES[1:6], Upload_Checksum=right)

    assert (wrong.status_code, error_of(wrong)["code"]) == (460, "upload.checksum_mismatch")
    assert offset_of(owner, url) == 0
    assert patch(owner, url, 0, BYTES[:5], Upload_Checksum=right)["Upload-Offset"] == "5"


@pytest.mark.parametrize("checksum", ["md5 YQ==", "sha256", "sha256 !", "SHA1 YQ=="])
def test_a_checksum_that_cannot_be_checked_changes_nothing(owner: APIClient, checksum: str) -> None:
    url = created(owner)

    answer = patch(owner, url, 0, BYTES[:5], Upload_Checksum=checksum)

    assert answer.status_code in {400, 460}
    assert offset_of(owner, url) == 0


def test_a_file_that_is_not_what_its_sender_meant_is_not_taken(owner: APIClient) -> None:
    url = created(owner, Upload_Metadata=sha256_of(b"other weights"))

    answer = patch(owner, url, 0, BYTES)

    assert (answer.status_code, error_of(answer)["code"]) == (460, "upload.digest_mismatch")
    assert owner.get(url).json()["state"] == "failed"
    assert owner.head(url, headers=V1).status_code == 410
    assert patch(owner, url, 0, BYTES).status_code == 410
    assert url.rpartition("/")[2] not in artifact_store().incoming_names()


def test_the_last_word_may_be_said_again(owner: APIClient) -> None:
    url = created(owner)
    patch(owner, url, 0, BYTES)

    again = patch(owner, url, len(BYTES), b"")

    assert (again.status_code, again["Upload-Offset"]) == (204, str(len(BYTES)))
    assert patch(owner, url, 0, BYTES).status_code == 409
    assert AuditEvent.objects.filter(action="registry.complete_upload").count() == 1


def test_a_terminated_upload_is_gone_with_its_bytes(owner: APIClient) -> None:
    url = created(owner)
    patch(owner, url, 0, BYTES[:5])

    assert owner.delete(url, headers=V1).status_code == 204

    assert owner.head(url, headers=V1).status_code == 404
    assert patch(owner, url, 5, BYTES[5:]).status_code == 404
    assert url.rpartition("/")[2] not in artifact_store().incoming_names()


def test_answers_say_until_when_an_upload_waits(owner: APIClient) -> None:
    answer = create(owner)
    expires = {parsedate_to_datetime(answer["Upload-Expires"])}
    expires.add(parsedate_to_datetime(patch(owner, answer["Location"], 0, BYTES[:5])["Upload-Expires"]))

    for moment in expires:
        assert 86_300 < (moment - timezone.now()).total_seconds() < 86_401


def test_an_expired_upload_is_gone(owner: APIClient) -> None:
    url = created(owner)
    Upload.objects.update(expires_at=timezone.now())

    for answer in (patch(owner, url, 0, BYTES), owner.head(url, headers=V1)):
        assert answer.status_code == 410
        assert "Upload-Offset" not in answer


def test_ids_cannot_be_guessed(owner: APIClient) -> None:
    ids = {created(owner).rpartition("/")[2] for _ in range(3)}

    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id_) for id_ in ids)


def test_another_persons_upload_does_not_exist(owner: APIClient, developer: APIClient) -> None:
    url = created(owner)

    for answer in (
        developer.get(url),
        developer.head(url, headers=V1),
        patch(developer, url, 0, BYTES),
        developer.delete(url, headers=V1),
    ):
        assert answer.status_code == 404
    assert developer.get("/api/uploads").json()["results"] == []
    assert [f"/api/uploads/{upload['id']}" for upload in owner.get("/api/uploads").json()["results"]] == [url]


def test_a_viewer_does_not_upload(viewer: APIClient) -> None:
    answer = create(viewer)

    assert answer.status_code == 403
    assert error_of(answer)["code"] == "permission.missing"


def test_a_stranger_does_nothing(db: None, owner: APIClient) -> None:
    url = created(owner)
    stranger = APIClient()

    for answer in (create(stranger), patch(stranger, url, 0, BYTES), stranger.head(url, headers=V1), stranger.get(url)):
        assert answer.status_code == 401
        assert answer["Tus-Resumable"] == "1.0.0"


def test_nobody_has_more_open_uploads_than_are_allowed(
    owner: APIClient, developer: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_settings(), "uploads_per_person", 2)
    url = created(owner)
    created(owner)

    answer = create(owner)

    assert (answer.status_code, error_of(answer)["code"]) == (429, "upload.too_many")
    created(developer)
    owner.delete(url, headers=V1)
    created(owner)


def test_a_browser_uploads_with_its_session_and_a_csrf_token_only(db: None) -> None:
    user = User.objects.create_user("ana", password="correct horse battery", role="developer", is_staff=True)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    browser.get("/admin/login/")
    page = browser.get("/admin/password_change/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
    assert token is not None
    csrf = {"X-CSRFToken": token[1]}
    announce = {**V1, "Upload-Length": str(len(BYTES))}

    assert browser.post("/api/uploads", BYTES[:5], OCTETS, headers=announce).status_code == 403
    url = browser.post("/api/uploads", BYTES[:5], OCTETS, headers=announce | csrf)["Location"]
    assert patch(browser, url, 5, BYTES[5:]).status_code == 403
    assert patch(browser, url, 5, BYTES[5:], X_CSRFToken=token[1]).status_code == 204
    assert Upload.objects.get().state == UploadState.COMPLETE
