"""Building the snapshot: only what changed, in the right order, by the leader alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.access.services import IssuedKey, ensure_defaults, issue_api_key, revoke_api_key
from controlplane.audit.models import PendingChange
from controlplane.audit.services import touch
from controlplane.env import control_settings
from controlplane.fleet.domain import PlacementState, ServerState
from controlplane.fleet.models import Placement, Pool
from controlplane.fleet.services import register_pool, register_server, set_server_state
from controlplane.gateway.orders import Orders, decode_changes
from controlplane.registry.services import set_alias
from controlplane.snapshots.errors import LeaseLostError
from controlplane.snapshots.leases import Lease, acquire, release
from controlplane.snapshots.models import LeaderLease, SnapshotEntry
from controlplane.snapshots.selectors import head_revision, head_row, signed_snapshot
from controlplane.snapshots.services import build_snapshot
from controlplane.wire.signing import Verifier
from controlplane.wire.snapshot import decode_snapshot
from tests.support.models import ACTOR, declare_published, imported_version, registered_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def lease(db: None) -> Lease:
    held = acquire("tests")
    assert held is not None
    return held


def issue() -> IssuedKey:
    project, plan = ensure_defaults(ACTOR)
    return issue_api_key(ACTOR, project=project, plan=plan, label="ci", models=("digits*",))


def follow(orders: Orders) -> Orders:
    """Brings orders up to date the way a gateway does."""
    public = control_settings().secrets.read("snapshot_public.pem")
    envelope = signed_snapshot(since=orders.revision, instance=orders.instance)
    snapshot = decode_snapshot(Verifier(public).open(envelope))
    orders.apply(snapshot, decode_changes(snapshot.entries))
    return orders


def published_on_a_server(slug: str) -> tuple[Pool, Placement]:
    pool = register_pool(ACTOR, slug="default", title="Default", repository="/srv/models")
    server = register_server(ACTOR, pool=pool, name="one", http_address="t:8000", grpc_address="t:8001")
    version = imported_version(slug)
    declare_published(version)
    placement = Placement.objects.create(server=server, version=version, state=PlacementState.READY, proven=True)
    set_alias(ACTOR, model=version.model, name="production", version=version)
    return pool, placement


def test_a_gateway_that_follows_sees_keys_models_and_servers(lease: Lease) -> None:
    key = issue().key
    _, placement = published_on_a_server("digits")
    build_snapshot(lease)
    orders = follow(Orders())
    assert orders.keys[key.key_id].models == ("digits*",)
    model = orders.models["digits"]
    assert (model.default_version, model.aliases) == (1, {"production": 1})
    assert model.versions[1].triton_name == "digits.v1"
    assert model.versions[1].servers == (placement.server.pk,)
    assert model.versions[1].batched
    assert orders.servers[placement.server.pk].http == "t:8000"


def test_a_revoked_key_is_gone_after_the_next_change_and_the_rest_is_untouched(lease: Lease) -> None:
    first, second = issue().key, issue().key
    build_snapshot(lease)
    orders = follow(Orders())
    revision = orders.revision
    revoke_api_key(ACTOR, key=first, reason="leaked")
    assert build_snapshot(lease) == 1
    follow(orders)
    assert orders.revision == revision + 1
    assert set(orders.keys) == {second.key_id}


def test_a_gateway_that_begins_late_gets_a_base_without_what_is_gone(lease: Lease) -> None:
    key = issue().key
    build_snapshot(lease)
    revoke_api_key(ACTOR, key=key, reason="leaked")
    build_snapshot(lease)
    assert follow(Orders()).keys == {}
    assert SnapshotEntry.objects.get(name=key.key_id).value is None, "a tombstone stays for those that knew the key"


def test_a_version_nobody_proved_or_that_is_not_ready_is_not_routed_to(lease: Lease) -> None:
    _, placement = published_on_a_server("digits")
    for state, proven in ((PlacementState.READY, False), (PlacementState.LOADING, True), (PlacementState.FAILED, True)):
        Placement.objects.filter(pk=placement.pk).update(state=state, proven=proven)
        touch("model", ["digits"])
        build_snapshot(lease)
        assert follow(Orders()).models["digits"].versions[1].servers == ()


def test_a_cordoned_server_is_marked_and_an_unpublished_model_has_no_routes(lease: Lease) -> None:
    _, placement = published_on_a_server("digits")
    set_server_state(ACTOR, server=placement.server, state=ServerState.CORDONED)
    registered_model("empty")
    build_snapshot(lease)
    orders = follow(Orders())
    assert orders.servers[placement.server.pk].state == "cordoned"
    assert orders.models["empty"].versions == {}
    assert orders.models["empty"].default_version is None


def test_a_change_that_makes_no_difference_makes_no_revision(lease: Lease) -> None:
    issue()
    build_snapshot(lease)
    before = head_revision()
    touch("key", SnapshotEntry.objects.filter(kind="key").values_list("name", flat=True))
    touch("model", ["never-existed"])
    assert build_snapshot(lease) == 0
    assert head_revision() == before
    assert not PendingChange.objects.exists()


def test_only_the_leader_writes(lease: Lease) -> None:
    issue()
    LeaderLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    successor = acquire("another")
    assert successor is not None
    assert successor.epoch == lease.epoch + 1
    with pytest.raises(LeaseLostError):
        build_snapshot(lease)
    assert head_revision() == 0
    assert PendingChange.objects.exists(), "what the old leader could not take in waits for the new one"
    assert build_snapshot(successor) > 0


def test_a_lease_is_renewed_refused_to_others_and_given_back(lease: Lease) -> None:
    assert acquire("tests") == lease
    assert acquire("another") is None
    release(lease)
    taken = acquire("another")
    assert taken is not None
    assert taken.epoch == lease.epoch + 1


def test_a_gateway_of_another_database_gets_a_base(lease: Lease) -> None:
    issue()
    build_snapshot(lease)
    orders = follow(Orders())
    orders.instance = "another control plane"
    follow(orders)
    assert orders.instance == head_row().instance


def test_nothing_in_the_snapshot_lets_anybody_use_a_key(lease: Lease) -> None:
    secret = issue().secret
    build_snapshot(lease)
    envelope = signed_snapshot(since=0, instance="")
    assert secret.encode() not in envelope
    assert secret.split("_")[3].encode() not in envelope
    assert control_settings().secrets.read("pepper") not in envelope
