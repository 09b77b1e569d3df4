"""Publishing into a real repository, proven on a real Triton."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.utils import timezone

from controlplane.fleet.domain import (
    PLANS,
    PlacementState,
    PublicationKind,
    PublicationState,
    PublicationStep,
    StepState,
)
from controlplane.fleet.errors import NotPublishableError
from controlplane.fleet.models import Pool, Publication
from controlplane.fleet.publishing import run_publication
from controlplane.fleet.publishing.steps import STEPS, StepContext
from controlplane.fleet.services import cancel_publication, hand_out_publications, publish_version, retry_publication
from controlplane.registry.domain import VersionState
from controlplane.registry.errors import ArtifactRefusedError
from controlplane.registry.importing import VersionDraft, import_version
from controlplane.registry.models import ModelVersion
from tests.controlplane.fleet.conftest import repository_names, unique_slug
from tests.support.models import ACTOR, imported_version, infer_body, registered_model, scaling_graph
from tests.support.triton import StartTriton, TritonServer

pytestmark = pytest.mark.django_db
PLAN = PLANS[PublicationKind.PUBLISH]


def publish(version: ModelVersion, pool: Pool) -> Publication:
    publication = publish_version(ACTOR, version=version, pool=pool)
    run_publication(publication.pk)
    publication.refresh_from_db()
    version.refresh_from_db()
    return publication


def test_a_published_version_is_loaded_proven_and_routable(pool: Pool, triton: TritonServer) -> None:
    version = imported_version(unique_slug("scale"))

    publication = publish(version, pool)

    assert (publication.state, publication.error) == (PublicationState.SUCCEEDED, "")
    assert [(run.step, run.state) for run in publication.steps.all()] == [(step, StepState.DONE) for step in PLAN]
    assert version.state == VersionState.PUBLISHED
    placement = version.placements.get()
    assert (placement.state, placement.proven) == (PlacementState.READY, True)
    answer = httpx.post(f"{triton.http_url}/v2/models/{version.triton_name}/versions/1/infer", json=infer_body())
    assert answer.json()["outputs"][0]["data"] == [0.0, 2.0, 4.0, 6.0]


def test_publishing_again_while_under_way_gives_the_same_publication(pool: Pool) -> None:
    version = imported_version(unique_slug("scale"))
    first = publish_version(ACTOR, version=version, pool=pool)
    assert publish_version(ACTOR, version=version, pool=pool) == first
    run_publication(first.pk)
    assert run_publication(first.pk) is None, "a finished publication is not run again"


def test_a_wrong_golden_answer_fails_the_publication_and_leaves_nothing_behind(
    pool: Pool, triton: TritonServer
) -> None:
    version = imported_version(unique_slug("wrong"), sample_factor=3.0)

    publication = publish(version, pool)

    assert publication.state == PublicationState.FAILED
    assert "Golden request 1 on local" in publication.error
    assert version.state == VersionState.SIGNED
    assert version.triton_name not in repository_names(pool)
    ready = httpx.get(f"{triton.http_url}/v2/models/{version.triton_name}/versions/1/ready")
    assert not ready.is_success
    assert not version.placements.filter(proven=True).exists()


def test_a_graph_triton_cannot_load_fails_with_its_reason_and_without_paths(pool: Pool) -> None:
    version = imported_version(unique_slug("broken"))
    # Passes inspection, which does not run graphs, and fails in ONNX Runtime: the operator has no such attribute value.
    artifact = version.files.get().artifact
    store = Path(pool.repository).parent
    assert artifact.sha256
    ModelVersion.objects.filter(pk=version.pk).update(
        inspection={**version.inspection, "outputs": [{**version.outputs[0], "name": "no_such_output"}]}
    )
    version.refresh_from_db()

    publication = publish(version, pool)

    assert publication.state == PublicationState.FAILED
    assert "no_such_output" in publication.error
    assert str(store) not in publication.error
    assert "Traceback" not in publication.error
    assert ".py" not in publication.error
    assert version.triton_name not in repository_names(pool)


def test_a_broken_file_is_refused_at_import_with_findings(db: None) -> None:
    model = registered_model(unique_slug("garbage"))
    draft = VersionDraft(semver="1.0.0", files={"model.onnx": io.BytesIO(b"this is no graph")})
    with pytest.raises(ArtifactRefusedError) as refusal:
        import_version(ACTOR, model=model, draft=draft)
    assert refusal.value.details["findings"][0]["code"].startswith("onnx.")
    version = model.versions.get()
    assert version.state == VersionState.FAILED
    again = VersionDraft(semver="1.0.0", files={"model.onnx": io.BytesIO(scaling_graph())})
    assert import_version(ACTOR, model=model, draft=again).number == 2, "a number is never reused for other bytes"


def test_a_failed_version_cannot_be_published(pool: Pool) -> None:
    model = registered_model(unique_slug("garbage"))
    with pytest.raises(ArtifactRefusedError):
        import_version(ACTOR, model=model, draft=VersionDraft("1.0.0", {"model.onnx": io.BytesIO(b"no graph")}))
    with pytest.raises(NotPublishableError, match="is failed and cannot be published"):
        publish_version(ACTOR, version=model.versions.get(), pool=pool)


@pytest.mark.parametrize("crashed_after", PLAN[:-1])
def test_a_publication_whose_worker_died_is_finished_by_another(pool: Pool, crashed_after: PublicationStep) -> None:
    version = imported_version(unique_slug("crash"))
    publication = publish_version(ACTOR, version=version, pool=pool)
    context = StepContext(publication, ACTOR, lambda: None)
    for step in PLAN:
        STEPS[step](context)
        if step == crashed_after:
            break
    silent = timezone.now() - timedelta(minutes=1)
    Publication.objects.filter(pk=publication.pk).update(
        state=PublicationState.RUNNING, worker="died", heartbeat_at=silent, handed_out_at=silent
    )

    assert hand_out_publications() == 1
    assert run_publication(publication.pk) == PublicationState.SUCCEEDED
    version.refresh_from_db()
    assert version.state == VersionState.PUBLISHED


def test_a_worker_that_lost_its_publication_stops_and_undoes_nothing(pool: Pool) -> None:
    version = imported_version(unique_slug("taken"))
    publication = publish_version(ACTOR, version=version, pool=pool)
    Publication.objects.filter(pk=publication.pk).update(
        state=PublicationState.RUNNING, worker="another", heartbeat_at=timezone.now()
    )
    assert run_publication(publication.pk) is None
    publication.refresh_from_db()
    assert (publication.state, publication.worker) == (PublicationState.RUNNING, "another")


def test_files_that_changed_after_staging_are_caught_before_the_rename(pool: Pool) -> None:
    version = imported_version(unique_slug("tampered"))
    publication = publish_version(ACTOR, version=version, pool=pool)
    context = StepContext(publication, ACTOR, lambda: None)
    STEPS[PublicationStep.STAGE](context)
    staged = context.repository.find_stage(context.stage_id)
    assert staged is not None
    (staged.path / "config.pbtxt").write_text('name: "something else"')

    run_publication(publication.pk)

    publication.refresh_from_db()
    assert publication.state == PublicationState.FAILED
    assert "not what was signed" in publication.error
    assert version.triton_name not in repository_names(pool)
    retry_publication(ACTOR, publication=publication)
    assert run_publication(publication.pk) == PublicationState.SUCCEEDED


def test_a_waiting_publication_can_be_cancelled_and_retried(pool: Pool) -> None:
    version = imported_version(unique_slug("cancelled"))
    publication = publish_version(ACTOR, version=version, pool=pool)
    assert cancel_publication(ACTOR, publication=publication).state == PublicationState.CANCELLED
    assert run_publication(publication.pk) is None
    with pytest.raises(NotPublishableError, match="has ended"):
        cancel_publication(ACTOR, publication=publication)
    retry_publication(ACTOR, publication=publication)
    assert run_publication(publication.pk) == PublicationState.SUCCEEDED


def test_publishing_a_second_version_never_touches_the_first(pool: Pool, triton: TritonServer) -> None:
    slug = unique_slug("pair")
    first, second = imported_version(slug, "1.0.0", factor=2.0), imported_version(slug, "2.0.0", factor=5.0)
    publish(first, pool)
    publish(second, pool)
    for version, expected in ((first, 2.0), (second, 5.0)):
        url = f"{triton.http_url}/v2/models/{version.triton_name}/versions/{version.number}/infer"
        assert httpx.post(url, json=infer_body()).json()["outputs"][0]["data"][1] == expected


def test_what_was_published_is_served_again_after_triton_restarts(db: None, start_triton: StartTriton) -> None:
    from controlplane.fleet.services import register_pool
    from tests.controlplane.fleet.conftest import add_server

    triton = start_triton()
    pool = register_pool(ACTOR, slug="restart", title="Restart", repository=str(triton.repository))
    add_server(pool, "restarting", triton)
    version = imported_version(unique_slug("restart"))
    publish(version, pool)
    triton.restart()
    triton.wait_ready(version.triton_name, version.number)
