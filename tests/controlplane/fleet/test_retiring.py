"""Taking versions out of service and back, on a real Triton, with a controller that speaks for the gateways."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.utils import timezone

from controlplane.accounts.models import ApiToken
from controlplane.fleet.domain import PLANS, PublicationKind, PublicationState, PublicationStep, StepState
from controlplane.fleet.errors import NotPublishableError
from controlplane.fleet.models import Pool, Publication
from controlplane.fleet.publishing import leaving
from controlplane.fleet.services import (
    empty_attics,
    publish_version,
    reap_stages,
    restore_version,
    retire_surplus_versions,
    retire_version,
    retry_publication,
)
from controlplane.registry.domain import VersionState
from controlplane.registry.errors import InvalidTransitionError, VersionInUseError
from controlplane.registry.models import ModelVersion
from controlplane.registry.services import ModelFields, set_alias, update_model
from controlplane.snapshots.controller import Controller
from controlplane.snapshots.models import Gateway
from controlplane.snapshots.selectors import head_revision
from controlplane.snapshots.services import note_gateway
from model_repository_tools.repository.folder import FolderRepository
from tests.controlplane.fleet.conftest import carried_out, published, repository_names, unique_slug
from tests.support.models import ACTOR, imported_version, infer_body
from tests.support.triton import TritonServer

# The controller is a thread with connections of its own: it needs rows that are really committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool(controller: Controller, pool: Pool) -> Pool:
    return pool


def retired(version: ModelVersion, pool: Pool) -> Publication:
    return carried_out(retire_version(ACTOR, version=version, pool=pool))


def restored(version: ModelVersion, pool: Pool) -> Publication:
    return carried_out(restore_version(ACTOR, version=version, pool=pool))


def state_in_triton(triton: TritonServer, version: ModelVersion) -> list[str]:
    return [entry.get("state", "") for entry in triton.index() if entry["name"] == version.triton_name]


def attic(pool: Pool) -> tuple[str, ...]:
    return FolderRepository(Path(pool.repository)).retired_names()


def answers(triton: TritonServer, version: ModelVersion) -> bool:
    url = f"{triton.http_url}/v2/models/{version.triton_name}/versions/{version.number}/infer"
    return httpx.post(url, json=infer_body()).is_success


def test_a_retired_version_is_unrouted_unloaded_and_in_the_attic(pool: Pool, triton: TritonServer) -> None:
    version = imported_version(unique_slug("old"))
    published(version, pool)

    retirement = retired(version, pool)

    assert (retirement.state, retirement.error) == (PublicationState.SUCCEEDED, "")
    steps = [(run.step, run.state) for run in retirement.steps.all()]
    assert steps == [(step, StepState.DONE) for step in PLANS[PublicationKind.RETIRE]]
    version.refresh_from_db()
    assert version.state == VersionState.RETIRED
    assert not version.placements.filter(proven=True).exists()
    assert version.triton_name not in repository_names(pool)
    assert version.triton_name in attic(pool)
    assert not answers(triton, version)
    assert "READY" not in state_in_triton(triton, version)
    assert retirement.attic_until is not None


def test_a_retired_version_comes_back_proven_and_routable(pool: Pool, triton: TritonServer) -> None:
    version = imported_version(unique_slug("back"))
    published(version, pool)
    retired(version, pool)

    restoration = restored(version, pool)

    assert (restoration.state, restoration.error) == (PublicationState.SUCCEEDED, "")
    version.refresh_from_db()
    assert version.state == VersionState.PUBLISHED
    assert answers(triton, version)
    assert version.triton_name not in attic(pool)
    assert version.placements.get().proven
    assert not Publication.objects.exclude(attic_until=None).exists()
    assert retired(version, pool).state == PublicationState.SUCCEEDED, "it can go again"


def test_a_version_that_something_needs_is_not_retired(pool: Pool) -> None:
    slug = unique_slug("needed")
    version, whole = imported_version(slug), imported_version(slug, "2.0.0")
    published(version, pool)
    set_alias(ACTOR, model=version.model, name="production", version=version)
    with pytest.raises(VersionInUseError, match="alias production"):
        retire_version(ACTOR, version=version, pool=pool)

    whole.parts.set([version])
    published(whole, pool)
    set_alias(ACTOR, model=version.model, name="production", version=whole)
    with pytest.raises(VersionInUseError) as refusal:
        retire_version(ACTOR, version=version, pool=pool)
    assert refusal.value.details == {"uses": [f"ensemble {slug}@2.0.0"]}


def test_an_ensemble_is_not_published_before_its_parts(pool: Pool) -> None:
    slug = unique_slug("parts")
    part, whole = imported_version(slug), imported_version(slug, "2.0.0")
    whole.parts.set([part])
    with pytest.raises(NotPublishableError, match=rf"made of {slug}@1\.0\.0"):
        publish_version(ACTOR, version=whole, pool=pool)
    published(part, pool)
    assert published(whole, pool).state == PublicationState.SUCCEEDED


def test_an_alias_that_comes_between_stops_the_retirement_and_the_version_stays(
    pool: Pool, triton: TritonServer
) -> None:
    version = imported_version(unique_slug("between"))
    published(version, pool)
    retirement = retire_version(ACTOR, version=version, pool=pool)
    set_alias(ACTOR, model=version.model, name="late", version=version)

    carried_out(retirement)

    assert (retirement.state, "alias late" in retirement.error) == (PublicationState.FAILED, True)
    assert (retirement.version.state, version.placements.get().proven) == (VersionState.PUBLISHED, True)
    assert answers(triton, version)


def test_no_alias_is_pointed_at_a_retired_version(pool: Pool) -> None:
    version = imported_version(unique_slug("gone"))
    published(version, pool)
    known = ModelVersion.objects.get(pk=version.pk)
    retired(version, pool)
    with pytest.raises(InvalidTransitionError, match="is retired"):
        set_alias(ACTOR, model=version.model, name="production", version=known)


def gateway_reports(name: str, revision: int) -> None:
    token = ApiToken.objects.first() or ApiToken.objects.create(name="gateway", digest=b"", scope="gateway")
    note_gateway(token=token, name=name, release="1", revision=revision, address="")


def test_nothing_is_unloaded_before_every_live_gateway_obeys(
    pool: Pool, triton: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "GATEWAY_PATIENCE_S", 0.5)
    version = imported_version(unique_slug("held"))
    published(version, pool)
    gateway_reports("eu-1", 0)
    gateway_reports("us-1", 2**40)

    retirement = retired(version, pool)

    assert retirement.state == PublicationState.QUEUED
    run = retirement.steps.get(step=PublicationStep.DRAIN)
    assert (run.state, "gateway eu-1" in run.detail, "us-1" in run.detail) == (StepState.POSTPONED, True, False)
    assert answers(triton, version), "requests that are still routed to it are answered"
    gateway_reports("eu-1", head_revision())
    assert carried_out(retirement).state == PublicationState.SUCCEEDED


def test_a_lost_gateway_holds_nothing_up(pool: Pool) -> None:
    version = imported_version(unique_slug("lost"))
    published(version, pool)
    gateway_reports("eu-1", 0)
    Gateway.objects.update(seen_at=timezone.now() - timedelta(minutes=16))

    assert retired(version, pool).state == PublicationState.SUCCEEDED


def test_the_attic_forgets_after_the_undo_window_and_the_version_can_still_be_published(pool: Pool) -> None:
    Pool.objects.update(undo_window_s=0)
    pool.refresh_from_db()
    version = imported_version(unique_slug("forgotten"))
    published(version, pool)
    retired(version, pool)

    assert empty_attics() == 1
    assert empty_attics() == 0

    assert version.triton_name not in attic(pool)
    restoration = restored(version, pool)
    assert restoration.state == PublicationState.FAILED
    assert "undo window is over" in restoration.error
    assert published(version, pool).state == PublicationState.SUCCEEDED


def test_the_attic_keeps_what_is_on_its_way_back(pool: Pool) -> None:
    Pool.objects.update(undo_window_s=0)
    pool.refresh_from_db()
    version = imported_version(unique_slug("rescued"))
    published(version, pool)
    retired(version, pool)
    restoration = restore_version(ACTOR, version=version, pool=pool)

    assert empty_attics() == 0

    assert carried_out(restoration).state == PublicationState.SUCCEEDED


def test_files_that_changed_in_the_attic_do_not_come_back(pool: Pool, triton: TritonServer) -> None:
    version = imported_version(unique_slug("rotten"))
    published(version, pool)
    retired(version, pool)
    config = FolderRepository(Path(pool.repository)).attic / version.triton_name / "config.pbtxt"
    config.chmod(0o644)
    config.write_text(config.read_text() + "\n")

    restoration = restored(version, pool)

    assert restoration.state == PublicationState.FAILED
    assert "not what was signed" in restoration.error
    assert version.triton_name not in repository_names(pool)
    assert not answers(triton, version)


def test_a_model_keeps_its_newest_versions_and_those_that_are_needed(pool: Pool) -> None:
    slug = unique_slug("kept")
    versions = [imported_version(slug, f"{major}.0.0") for major in range(1, 5)]
    for version in versions:
        published(version, pool)
    assert retire_surplus_versions(ACTOR) == [], "by default everything stays"
    set_alias(ACTOR, model=versions[0].model, name="production", version=versions[0])
    versions[0].model.refresh_from_db()
    update_model(ACTOR, model=versions[0].model, fields=ModelFields(keep_versions=2))

    asked = retire_surplus_versions(ACTOR)

    assert [publication.version for publication in asked] == [versions[1]]
    assert retire_surplus_versions(ACTOR) == [], "what is on its way out is not asked for again"
    assert carried_out(asked[0]).state == PublicationState.SUCCEEDED


def test_what_a_publication_excludes_is_said(pool: Pool) -> None:
    version = imported_version(unique_slug("excluded"))
    with pytest.raises(NotPublishableError, match="is not published into pool"):
        retire_version(ACTOR, version=version, pool=pool)
    with pytest.raises(NotPublishableError, match="was never retired"):
        restore_version(ACTOR, version=version, pool=pool)
    published(version, pool)
    with pytest.raises(NotPublishableError, match="nothing to restore"):
        restore_version(ACTOR, version=version, pool=pool)
    first = retire_version(ACTOR, version=version, pool=pool)
    assert retire_version(ACTOR, version=version, pool=pool) == first
    with pytest.raises(NotPublishableError, match=r"Retire of .* is under way"):
        publish_version(ACTOR, version=version, pool=pool)


def test_only_the_latest_publication_is_run_again(pool: Pool) -> None:
    version = imported_version(unique_slug("latest"))
    failed = published(version, pool)
    Publication.objects.filter(pk=failed.pk).update(state=PublicationState.FAILED)
    published(version, pool)
    with pytest.raises(NotPublishableError, match="followed by another"):
        retry_publication(ACTOR, publication=failed)


def test_what_crashes_left_beside_the_repository_is_removed(pool: Pool) -> None:
    repository = FolderRepository(Path(pool.repository))
    version = imported_version(unique_slug("left"))
    under_way = publish_version(ACTOR, version=version, pool=pool)
    for publication_id in (under_way.pk, 987654):
        (repository.staging / f"publication-{publication_id}.aa.partial").mkdir(parents=True)

    reap_stages()

    left = {path.name for path in repository.staging.iterdir() if path.name.startswith("publication-")}
    assert left == {f"publication-{under_way.pk}.aa.partial"}
