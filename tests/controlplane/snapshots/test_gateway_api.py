"""What gateways call."""

from __future__ import annotations

import time

import pytest
from django.test import AsyncClient, Client

from controlplane.access.services import ensure_defaults, issue_api_key
from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.services import create_user, issue_token, revoke_token
from controlplane.env import control_settings
from controlplane.snapshots.leases import acquire
from controlplane.snapshots.models import Gateway
from controlplane.snapshots.selectors import head_revision, head_row
from controlplane.snapshots.services import build_snapshot
from controlplane.usage.selectors import usage_totals
from controlplane.wire.signing import Verifier
from controlplane.wire.snapshot import Snapshot, decode_snapshot
from controlplane.wire.usage import FORMAT, UsageBatch, UsageRow, encode_batch
from tests.support.models import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def gateway() -> Client:
    token = issue_token(ACTOR, name="edge", scope=TokenScope.GATEWAY).secret
    return Client(headers={"Authorization": f"Bearer {token}", "X-Gateway-Name": "edge-1", "X-Gateway-Release": "1.0"})


@pytest.fixture
def revision() -> int:
    project, plan = ensure_defaults(ACTOR)
    issue_api_key(ACTOR, project=project, plan=plan, label="ci")
    lease = acquire("tests")
    assert lease is not None
    build_snapshot(lease)
    return head_revision()


def opened(content: bytes) -> Snapshot:
    return decode_snapshot(Verifier(control_settings().secrets.read("snapshot_public.pem")).open(content))


def test_a_new_gateway_gets_a_base_and_is_listed(gateway: Client, revision: int) -> None:
    answer = gateway.get("/internal/snapshot?since=0&wait=0")
    snapshot = opened(answer.content)
    assert (snapshot.since, snapshot.revision) == (0, revision)
    assert [entry.kind for entry in snapshot.entries] == ["key"]
    row = Gateway.objects.get()
    assert (row.name, row.release, row.revision) == ("edge-1", "1.0", 0)


def test_a_gateway_that_has_everything_gets_204_after_its_wait(gateway: Client, revision: int) -> None:
    started = time.monotonic()
    answer = gateway.get(f"/internal/snapshot?since={revision}&instance={head_row().instance}&wait=1")
    assert answer.status_code == 204
    assert time.monotonic() - started >= 1
    assert Gateway.objects.get().revision == revision, "asking above a revision says that it is obeyed"


def test_a_revision_from_the_future_gets_a_base(gateway: Client, revision: int) -> None:
    url = f"/internal/snapshot?since={revision + 5}&instance={head_row().instance}&wait=0"
    assert opened(gateway.get(url).content).since == 0


@pytest.mark.parametrize("query", ["since=x", "since=-1", "since=" + "9" * 40, "wait=1.5"])
def test_a_malformed_question_is_refused(gateway: Client, query: str) -> None:
    answer = gateway.get(f"/internal/snapshot?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "snapshot.invalid_query"


def test_only_a_gateways_token_opens_it() -> None:
    user = create_user(ACTOR, username="ana", password="a long password", role=Role.OWNER)
    control = issue_token(ACTOR, name="ci", scope=TokenScope.CONTROL, user=user).secret
    revoked = issue_token(ACTOR, name="old", scope=TokenScope.GATEWAY)
    revoke_token(ACTOR, token=revoked.token)
    for headers in ({}, {"Authorization": f"Bearer {control}"}, {"Authorization": f"Bearer {revoked.secret}"}):
        for answer in (
            Client(headers=headers).get("/internal/snapshot"),
            Client(headers=headers).post("/internal/usage", b"{}", content_type="application/json"),
        ):
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "token.invalid"


def test_a_batch_is_counted_once(gateway: Client) -> None:
    row = UsageRow(1_800_000_000 // 3600 * 3600, 1, 2, 3, 0, 0, 1, 5, 5, 10, 20, 30, 40)
    body = encode_batch(UsageBatch(FORMAT, "edge-1", "j", 1, 0, 5, [row]))
    answers = [gateway.post("/internal/usage", body, content_type="application/json") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"duplicate": False}, {"duplicate": True}]
    assert usage_totals().requests == 5


def test_a_batch_that_is_none_is_refused(gateway: Client) -> None:
    answer = gateway.post("/internal/usage", b"not json", content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "usage.malformed"


def test_the_wrong_method_is_refused(gateway: Client) -> None:
    assert gateway.post("/internal/snapshot").status_code == 405


async def test_a_waiting_gateway_holds_no_thread() -> None:
    answer = await AsyncClient().get("/internal/snapshot")
    assert answer.status_code == 401
