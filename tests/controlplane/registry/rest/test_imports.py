"""Imports over REST."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from controlplane.registry.import_jobs import run_import
from controlplane.registry.models import Upload, VersionImport
from tests.controlplane.registry.rest.test_uploads import created, patch
from tests.support.models import registered_model, scaling_graph, scaling_sample
from tests.support.rest import error_of


def upload(client: APIClient, content: bytes | None = None) -> str:
    content = scaling_graph() if content is None else content
    url = created(client, len(content))
    assert patch(client, url, 0, content).status_code == 204
    return url.rpartition("/")[2]


def ask(client: APIClient, **body: Any) -> Any:
    return client.post("/api/models/digits/versions", {"semver": "1.0.0", **body}, format="json")


def test_an_import_is_accepted_and_can_be_followed(owner: APIClient, transactional_db: None) -> None:
    registered_model("digits")

    answer = ask(owner, uploads={"model.onnx": upload(owner)}, golden=[scaling_sample()], metrics={"accuracy": 0.9})

    assert answer.status_code == 202, answer.content
    job = answer.json()
    assert (job["model"], job["version"], job["number"], job["state"]) == ("digits", "1.0.0", None, "queued")
    run_import(job["id"])
    done = owner.get(answer["Location"]).json()
    assert (done["state"], done["number"], done["bytes_done"]) == ("succeeded", 1, done["bytes_total"])
    assert Upload.objects.get().state == "used"
    listed = owner.get("/api/imports", {"model": "digits", "state": "succeeded"}).json()["results"]
    assert [job["id"] for job in listed] == [done["id"]]
    assert owner.get("/api/imports", {"state": "failed"}).json()["results"] == []


def test_an_import_is_cancelled_and_retried(owner: APIClient) -> None:
    registered_model("digits")
    url = ask(owner, uploads={"model.onnx": upload(owner)})["Location"]

    assert owner.post(f"{url}/cancel").json()["state"] == "cancelled"
    assert owner.post(f"{url}/cancel").status_code == 409
    assert owner.post(f"{url}/retry").json()["state"] == "queued"
    assert owner.post(f"{url}/retry").status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"uploads": {}},
        {"uploads": {"model.onnx": "not-an-id"}},
        {"uploads": ["x"]},
        {"path": "/srv/x", "uploads": {"model.onnx": "00000000-0000-4000-8000-000000000000"}},
        {"path": "/etc/passwd"},
        {"path": "a\x00b"},
        {"archive": "00000000-0000-4000-8000-000000000000"},
    ],
)
def test_a_request_that_says_not_where_the_files_are_is_refused(owner: APIClient, body: dict[str, Any]) -> None:
    registered_model("digits")

    answer = ask(owner, **body)

    assert answer.status_code == 400
    assert error_of(answer)
    assert not VersionImport.objects.exists()


def test_another_persons_upload_cannot_be_imported(owner: APIClient, developer: APIClient) -> None:
    registered_model("digits")

    answer = ask(developer, uploads={"model.onnx": upload(owner)})

    assert (answer.status_code, error_of(answer)["code"]) == (404, "upload.not_found")


def test_a_viewer_imports_nothing_and_cancels_nothing(owner: APIClient, viewer: APIClient) -> None:
    registered_model("digits")
    url = ask(owner, uploads={"model.onnx": upload(owner)})["Location"]

    assert ask(viewer, path="/etc/passwd").status_code == 403
    assert viewer.post(f"{url}/cancel").status_code == 403
    assert viewer.get(url).status_code == 200
    assert owner.get("/api/imports/999").status_code == 404
