"""What the controller sees of servers."""

from __future__ import annotations

import pytest

from controlplane.audit.models import PendingChange
from controlplane.fleet.domain import Health, PlacementState
from controlplane.fleet.models import Placement, Pool
from controlplane.fleet.probing import probe_servers
from controlplane.fleet.publishing import run_publication
from controlplane.fleet.services import publish_version, register_pool
from controlplane.fleet.services.observations import placement_state
from tests.controlplane.fleet.conftest import add_server, unique_slug
from tests.support.models import ACTOR, imported_version
from tests.support.triton import StartTriton

pytestmark = pytest.mark.django_db


def test_a_live_server_is_seen_with_version_and_extensions(pool: Pool) -> None:
    assert probe_servers() == 1
    server = pool.servers.get()
    assert server.health == Health.LIVE
    assert server.triton_version == "2.51.0"
    assert "model_repository" in server.extensions
    assert server.seen_at is not None


def test_a_quiet_fleet_writes_nothing(pool: Pool, django_assert_num_queries: object) -> None:
    probe_servers()
    PendingChange.objects.all().delete()
    assert probe_servers() == 0
    assert not PendingChange.objects.exists()


def test_a_version_unloaded_by_hand_is_seen_as_absent_and_a_dead_server_as_down(start_triton: StartTriton) -> None:
    triton = start_triton()
    pool = register_pool(ACTOR, slug="probed", title="Probed", repository=str(triton.repository))
    add_server(pool, "probed", triton)
    version = imported_version(unique_slug("probed"))
    run_publication(publish_version(ACTOR, version=version, pool=pool).pk)
    assert Placement.objects.get().state == PlacementState.READY

    triton.unload(version.triton_name)
    probe_servers()
    assert Placement.objects.get().state == PlacementState.ABSENT
    triton.load(version.triton_name)
    probe_servers()
    assert Placement.objects.get().state == PlacementState.READY

    triton.kill()
    PendingChange.objects.all().delete()
    probe_servers()
    assert pool.servers.get().health == Health.DOWN
    assert Placement.objects.get().state == PlacementState.READY, "the last place to try is kept"
    assert PendingChange.objects.filter(kind="server").exists()


def test_a_server_with_the_wrong_password_is_down_with_a_reason(pool: Pool) -> None:
    from controlplane.env import control_settings

    control_settings().secrets.path("control-local").write_text("not the password")
    probe_servers()
    server = pool.servers.get()
    assert server.health == Health.DOWN
    assert "local" in server.health_reason
    assert "not the password" not in server.health_reason


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (None, (PlacementState.ABSENT, "")),
        (("READY", ""), (PlacementState.READY, "")),
        (("LOADING", ""), (PlacementState.LOADING, "loading")),
        (("UNLOADING", ""), (PlacementState.LOADING, "unloading")),
        (("UNAVAILABLE", "unloaded"), (PlacementState.ABSENT, "unloaded")),
        (("UNAVAILABLE", "no such operator"), (PlacementState.FAILED, "no such operator")),
        (("", ""), (PlacementState.ABSENT, "")),
    ],
)
def test_every_state_of_triton_has_a_meaning(
    observed: tuple[str, str] | None, expected: tuple[PlacementState, str]
) -> None:
    assert placement_state(observed) == expected
