"""Registering, editing, uploading, publishing and moving aliases in the admin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from controlplane.audit.models import AuditEvent
from controlplane.fleet.domain import PublicationState
from controlplane.fleet.models import Publication
from controlplane.fleet.services import publish_version
from controlplane.registry.domain import VersionState
from controlplane.registry.models import Alias, ModelVersion, RegisteredModel
from controlplane.registry.services import ModelFields, create_model, update_model
from tests.controlplane.ui.conftest import BOOT, Scene, add_pool, page
from tests.model_repository_tools.graphs import save_double

FIELDS = {"title": "Digits", "timeout_s": "30", "max_body_bytes": "1024", "tags": "vision, demo"}


def test_a_model_is_registered_through_the_service(owner: Client) -> None:
    owner.post(page("registry_registeredmodel", step="add"), {"_step": "1", "slug": "digits", **FIELDS})
    model = RegisteredModel.objects.get()
    assert (model.slug, model.tags, model.timeout_s) == ("digits", ["vision", "demo"], 30)
    assert AuditEvent.objects.get().actor == "user:a-owner"


@pytest.mark.parametrize(("slug", "said"), [("Digits!", "is no model name"), ("taken", "There is a model")])
def test_a_refused_name_is_an_error_of_the_form(owner: Client, slug: str, said: str) -> None:
    create_model(BOOT, slug="taken")
    response = owner.post(page("registry_registeredmodel", step="add"), {"_step": "1", "slug": slug, **FIELDS})
    assert response.status_code == 400
    assert said in response.content.decode()


def test_an_edit_does_not_overwrite_somebody_elses(owner: Client, scene: Scene) -> None:
    address = page("registry_registeredmodel", scene.model.pk, "edit")
    assert 'name="revision" value="1"' in owner.get(address).content.decode()
    update_model(BOOT, model=scene.model, fields=ModelFields(title="Theirs"))
    response = owner.post(address, {"_step": "1", "revision": "1", **FIELDS, "title": "Mine"})
    assert "was changed by somebody else" in response.content.decode()
    scene.model.refresh_from_db()
    assert scene.model.title == "Theirs"
    owner.post(address, {"_step": "1", "revision": "2", **FIELDS, "title": "Mine"})
    scene.model.refresh_from_db()
    assert scene.model.title == "Mine"


def test_an_alias_moves_to_published_versions_only(operator: Client, scene: Scene) -> None:
    address = page("registry_registeredmodel", scene.model.pk, "alias")
    refused = operator.post(address, {"_step": "1", "name": "production", "version": scene.validated.pk})
    assert refused.status_code == 400
    operator.post(address, {"_step": "1", "name": "production", "version": scene.published.pk})
    assert Alias.objects.get().version == scene.published
    assert "production → 1.0.0" in operator.get(page("registry_registeredmodel")).content.decode()


@pytest.mark.parametrize(
    ("query", "found"), [("q=digi", True), ("q=zzz", False), ("tag=vision", True), ("tag=nlp", False)]
)
def test_models_are_found_by_text_and_tag(viewer: Client, scene: Scene, query: str, found: bool) -> None:
    text = viewer.get(page("registry_registeredmodel") + "?" + query).content.decode()
    assert (page("registry_registeredmodel", scene.model.pk) in text) is found


def upload(client: Client, model: RegisteredModel, content: bytes, **more: object) -> object:
    data = {"_step": "1", "model": model.slug, "semver": "2.0.0", "file": SimpleUploadedFile("m.onnx", content), **more}
    return client.post(page("registry_modelversion", step="add"), data)


def test_an_uploaded_version_is_inspected_and_shown(owner: Client, scene: Scene, tmp_path: Path) -> None:
    onnx = save_double(tmp_path / "m.onnx").read_bytes()
    metrics = SimpleUploadedFile("metrics.json", json.dumps({"accuracy": 0.97}).encode())
    upload(owner, scene.model, onnx, metrics=metrics)
    version = ModelVersion.objects.get(semver="2.0.0")
    assert (version.state, version.metrics) == (VersionState.VALIDATED, {"accuracy": 0.97})
    text = owner.get(page("registry_modelversion", version.pk)).content.decode()
    for piece in (version.digest, "config.pbtxt", "0.97", "FP32", version.triton_name):
        assert piece in text


def test_findings_are_shown_where_the_file_was_chosen(owner: Client, scene: Scene) -> None:
    response = upload(owner, scene.model, b"no model at all")
    text = response.content.decode()  # type: ignore[attr-defined]
    failed = ModelVersion.objects.get(semver="2.0.0")
    assert failed.state == VersionState.FAILED
    assert "cannot be served" in text
    assert failed.findings[0]["code"] in text


@pytest.mark.parametrize(("content", "said"), [(b"{", "is not JSON"), (b"{}", "must hold a JSON array")])
def test_golden_samples_that_are_no_json_are_refused(owner: Client, scene: Scene, content: bytes, said: str) -> None:
    response = upload(owner, scene.model, b"", golden_samples=SimpleUploadedFile("golden.json", content))
    assert said in response.content.decode()  # type: ignore[attr-defined]


def test_publishing_asks_for_the_pool(operator: Client, scene: Scene) -> None:
    gpu = add_pool("gpu")
    address = page("registry_modelversion", scene.validated.pk, "publish")
    assert ">gpu</option>" in operator.get(address).content.decode()
    assert not Publication.objects.exists()
    operator.post(address, {"_step": "1", "pool": gpu.pk})
    publication = Publication.objects.get()
    assert (publication.pool, publication.requested_by) == (gpu, "user:a-operator")


def test_retry_and_cancel_are_offered_when_they_make_sense(operator: Client, scene: Scene) -> None:
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    for name, pk in (("registry_modelversion", scene.validated.pk), ("fleet_publication", publication.pk)):
        text = operator.get(page(name, pk)).content.decode()
        assert page(name, pk, "cancel") in text
        assert page(name, pk, "retry") not in text
    operator.post(page("registry_modelversion", scene.validated.pk, "cancel"), {"_step": "1"})
    publication.refresh_from_db()
    assert publication.state == PublicationState.CANCELLED
    assert (
        page("fleet_publication", publication.pk, "retry")
        in operator.get(page("fleet_publication", publication.pk)).content.decode()
    )
    operator.post(page("fleet_publication", publication.pk, "retry"), {"_step": "1"})
    publication.refresh_from_db()
    assert publication.state == PublicationState.QUEUED


def test_a_step_that_came_too_late_says_so(operator: Client, scene: Scene) -> None:
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    Publication.objects.update(state=PublicationState.SUCCEEDED)
    response = operator.post(page("fleet_publication", publication.pk, "cancel"), {"_step": "1"})
    assert response.status_code == 400
    assert "there is nothing to cancel" in response.content.decode()


def test_chosen_versions_are_published_at_once_where_there_is_one_pool(operator: Client, scene: Scene) -> None:
    failed = ModelVersion.objects.create(
        model=scene.model, semver="0.1.0", number=9, state=VersionState.FAILED, created_by="user:dev"
    )
    chosen = {"action": "publish_selected", "_selected_action": [scene.validated.pk, failed.pk]}
    response = operator.post(page("registry_modelversion"), chosen, follow=True)
    assert [publication.version for publication in Publication.objects.all()] == [scene.validated]
    text = response.content.decode()
    assert "On the way to default: 1." in text
    assert "digits@0.1.0 is failed and cannot be published" in text


def test_chosen_versions_are_published_to_the_chosen_of_several_pools(operator: Client, scene: Scene) -> None:
    gpu = add_pool("gpu")
    chosen = {"action": "publish_selected", "_selected_action": [scene.validated.pk]}
    assert "Publish 1 versions" in operator.post(page("registry_modelversion"), chosen).content.decode()
    assert not Publication.objects.exists()
    operator.post(page("registry_modelversion"), {"_step": "1", "pool": gpu.pk, **chosen})
    assert Publication.objects.get().pool == gpu


def test_a_viewer_cannot_publish_chosen_versions(viewer: Client, scene: Scene) -> None:
    viewer.post(page("registry_modelversion"), {"action": "publish_selected", "_selected_action": [scene.validated.pk]})
    assert not Publication.objects.exists()
