"""Pages follow what happens by polling JSON."""

from __future__ import annotations

from django.test import Client

from controlplane.fleet.domain import PublicationState, PublicationStep, StepState
from controlplane.fleet.models import Publication, PublicationStepRun
from controlplane.fleet.services import publish_version
from tests.controlplane.ui.conftest import BOOT, Scene, page


def test_a_version_tells_its_publication_step_by_step(viewer: Client, scene: Scene) -> None:
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    address = f"/admin/live/versions/{scene.validated.pk}/"
    assert address in viewer.get(page("registry_modelversion", scene.validated.pk)).content.decode()

    waiting = viewer.get(address).json()
    assert waiting["running"] is True
    assert {step["state"] for step in waiting["publications"][0]["steps"]} == {"waiting"}

    Publication.objects.update(state=PublicationState.RUNNING, attempt=1)
    PublicationStepRun.objects.create(publication=publication, step=PublicationStep.STAGE, attempt=1, detail="4 files")
    running = viewer.get(address).json()
    assert (
        running["publications"][0]["steps"][0] | {"state": "running", "detail": "4 files"}
        == (running["publications"][0]["steps"][0])
    )
    assert "4 files" in running["fragments"]["pipelines"]

    PublicationStepRun.objects.update(state=StepState.FAILED, error="disk full")
    Publication.objects.update(state=PublicationState.FAILED, error="disk full")
    failed = viewer.get(address).json()
    assert failed["running"] is False
    assert failed["publications"][0]["error"] == "disk full"
    assert "disk full" in failed["fragments"]["pipelines"]


def test_only_the_latest_attempt_is_shown_as_the_pipeline(viewer: Client, scene: Scene) -> None:
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    for attempt, error in ((1, "first failure"), (2, "")):
        PublicationStepRun.objects.create(
            publication=publication, step=PublicationStep.STAGE, attempt=attempt, error=error
        )
    Publication.objects.update(attempt=2)
    answer = viewer.get(f"/admin/live/publications/{publication.pk}/").json()
    assert answer["steps"][0]["error"] == ""
    assert "attempt 2" in answer["fragments"]["pipeline"]


def test_a_version_tells_where_it_runs(viewer: Client, scene: Scene) -> None:
    answer = viewer.get(f"/admin/live/versions/{scene.published.pk}/")
    assert "no-store" in answer["Cache-Control"]
    assert answer.json()["placements"] == [{"server": "triton-default", "state": "ready", "reason": ""}]
    assert answer.json()["state"] == "published"


def test_what_is_not_there_is_not_found(viewer: Client) -> None:
    assert viewer.get("/admin/live/versions/404/").status_code == 404
    assert viewer.get("/admin/live/publications/404/").status_code == 404
