"""The first page says what a person on call must know."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.test import Client
from django.utils import timezone

from controlplane.access.models import Plan, Project
from controlplane.access.services import issue_api_key
from controlplane.fleet.domain import Health, PlacementState, PublicationState
from controlplane.fleet.models import Placement, Publication, Server
from controlplane.fleet.services import publish_version
from controlplane.snapshots.models import Gateway
from controlplane.ui.overview import overview
from controlplane.usage.models import HourlyUsage
from controlplane.wire.usage import Cause
from tests.controlplane.ui.conftest import BOOT, Scene


def test_an_empty_control_plane_shows_the_first_steps(owner: Client) -> None:
    text = owner.get("/admin/").content.decode()
    assert "No Triton is registered yet" in text
    assert "First steps" in text
    assert not any(step.done for step in overview().first_steps)


def test_a_healthy_fleet_is_said_to_be_in_order(owner: Client, scene: Scene) -> None:
    assert "Everything is in order" in owner.get("/admin/").content.decode()
    assert [step.done for step in overview().first_steps] == [True, True, True, True, False, False, False]


def test_what_needs_somebody_is_named(owner: Client, scene: Scene, defaults: tuple[Project, Plan]) -> None:
    now = timezone.now()
    Server.objects.update(health=Health.DOWN, health_reason="connection refused")
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    Publication.objects.filter(pk=publication.pk).update(state=PublicationState.FAILED, error="out of memory")
    for name, minutes in (("fresh", 0), ("quiet", 2), ("gone", 20)):
        Gateway.objects.create(name=name, seen_at=now - timedelta(minutes=minutes))
    project, plan = defaults
    issue_api_key(BOOT, project=project, plan=plan, label="soon", expires_at=now + timedelta(days=2))
    texts = [concern.text for concern in overview().concerns]
    assert texts == [
        "Server triton-default is down",
        "Publishing digits@1.1.0 to default failed",
        "Gateway gone is lost: silent for over 15 minutes",
        "Gateway quiet has been silent for over a minute",
        "1 API key expires within 7 days",
    ]
    page = owner.get("/admin/").content.decode()
    assert "out of memory" in page
    assert "5 things to look at" in page


def test_a_failure_that_was_put_right_is_no_concern(scene: Scene) -> None:
    first = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    Publication.objects.filter(pk=first.pk).update(state=PublicationState.FAILED)
    assert overview().failed_recently == 1
    second = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    Publication.objects.filter(pk=second.pk).update(state=PublicationState.SUCCEEDED)
    assert overview().failed_recently == 0


def test_a_published_version_that_a_live_server_does_not_serve_is_a_concern(scene: Scene) -> None:
    Placement.objects.update(state=PlacementState.FAILED, reason="could not allocate")
    assert [concern.text for concern in overview().concerns] == ["digits@1.0.0 is failed on triton-default"]


def test_requests_are_counted_by_hour_and_model(scene: Scene) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    add_use(scene, hour, requests=90, duration_us=900_000)
    add_use(scene, hour, requests=10, cause=Cause.MODEL)
    add_use(scene, hour - timedelta(hours=3), requests=50)
    add_use(scene, hour - timedelta(hours=30), requests=7)
    use = overview().use
    assert (use.requests, use.failures, len(use.hours)) == (150, 10, 24)
    assert (use.hours[-1].requests, use.hours[-1].share, use.hours[-4].share) == (100, 100, 50)
    assert use.average_ms == 6.0
    assert use.busiest == [(scene.model, 150)]


def add_use(scene: Scene, hour: datetime, *, requests: int, cause: Cause = Cause.OK, duration_us: int = 0) -> None:
    HourlyUsage.objects.create(
        hour=hour,
        key_number=1,
        model_number=scene.model.pk,
        version_number=1,
        arm=0,
        cause=cause,
        protocol=1,
        requests=requests,
        duration_us=duration_us,
    )
