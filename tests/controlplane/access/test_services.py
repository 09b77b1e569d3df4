"""Issuing and revoking API keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.access.errors import InvalidKeyRequestError, KeyNotFoundError, PlanNotFoundError
from controlplane.access.models import ApiKey, Plan, Project
from controlplane.access.selectors import get_key, get_plan, list_keys
from controlplane.access.services import IssuedKey, ensure_defaults, issue_api_key, revoke_api_key
from controlplane.accounts.domain import Role, permissions_of
from controlplane.accounts.selectors import pepper
from controlplane.audit.domain import Actor
from controlplane.audit.errors import PermissionMissingError
from controlplane.audit.models import AuditEvent, PendingChange
from controlplane.wire.keys import hash_key, parse_key
from tests.support.models import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def defaults(db: None) -> tuple[Project, Plan]:
    return ensure_defaults(ACTOR)


def issue(defaults: tuple[Project, Plan], **options: object) -> IssuedKey:
    return issue_api_key(ACTOR, project=defaults[0], plan=defaults[1], label="ci", **options)  # type: ignore[arg-type]


def test_only_the_hash_of_a_key_is_stored(defaults: tuple[Project, Plan]) -> None:
    issued = issue(defaults)
    parsed = parse_key(issued.secret)
    assert parsed is not None
    assert parsed.key_id == issued.key.key_id
    row = ApiKey.objects.values().get()
    assert bytes(row["digest"]) == hash_key(issued.secret, pepper())
    assert issued.secret not in str(row)
    assert issued.secret not in repr(issued)
    assert issued.secret not in str(list(AuditEvent.objects.values()))


def test_a_new_key_is_announced_to_the_gateways(defaults: tuple[Project, Plan]) -> None:
    issued = issue(defaults)
    assert PendingChange.objects.filter(kind="key", name=issued.key.key_id).count() == 1


def test_revoking_is_audited_once_with_its_reason(defaults: tuple[Project, Plan]) -> None:
    key = issue(defaults).key
    for _ in range(2):
        revoke_api_key(ACTOR, key=key, reason="leaked")
    key.refresh_from_db()
    assert (key.state, key.revoked_reason) == ("revoked", "leaked")
    assert AuditEvent.objects.filter(action="access.revoke_api_key").count() == 1


def test_a_key_past_its_expiry_says_so(defaults: tuple[Project, Plan]) -> None:
    key = issue(defaults, expires_at=timezone.now() + timedelta(hours=1)).key
    assert key.state == "active"
    key.expires_at = timezone.now()
    assert key.state == "expired"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scopes": ("infer", "root")}, "Unknown scopes"),
        ({"scopes": ()}, "at least one scope"),
        ({"models": ()}, "at least one scope and one model pattern"),
        ({"models": ("Digits",)}, "no model patterns"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "lies in the past"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    defaults: tuple[Project, Plan], options: dict[str, object], reason: str
) -> None:
    with pytest.raises(InvalidKeyRequestError, match=reason):
        issue(defaults, **options)


def test_a_viewer_may_neither_issue_nor_revoke(defaults: tuple[Project, Plan]) -> None:
    viewer = Actor("user:viewer", permissions_of(Role.VIEWER))
    key = issue(defaults).key
    with pytest.raises(PermissionMissingError):
        issue_api_key(viewer, project=defaults[0], plan=defaults[1], label="x")
    with pytest.raises(PermissionMissingError):
        revoke_api_key(viewer, key=key, reason="x")


def test_what_is_not_there_is_said_with_what_is(defaults: tuple[Project, Plan]) -> None:
    with pytest.raises(PlanNotFoundError, match="there are: local"):
        get_plan("gold")
    with pytest.raises(KeyNotFoundError):
        get_key("nobody")


def test_listing_keys_takes_one_query(defaults: tuple[Project, Plan], django_assert_num_queries: object) -> None:
    for _ in range(3):
        issue(defaults)
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert len([(str(key.project), key.plan.slug, key.state) for key in list_keys()]) == 3
