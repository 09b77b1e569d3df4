"""Tokens and roles."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.utils import timezone

from controlplane.accounts.domain import Permission, Role, TokenScope, permissions_of
from controlplane.accounts.errors import InvalidTokenError
from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.selectors import get_token
from controlplane.accounts.services import create_user, issue_token, note_token_use, revoke_token
from controlplane.audit.errors import PermissionMissingError
from tests.support.models import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana(db: None) -> User:
    return create_user(ACTOR, username="ana", password="a long password", role=Role.DEVELOPER)


def test_a_token_acts_with_the_permissions_of_its_owner(ana: User) -> None:
    issued = issue_token(ana.as_actor(), name="ci", scope=TokenScope.CONTROL, user=ana)
    token = get_token(issued.secret, TokenScope.CONTROL)
    assert token.as_actor().permissions == permissions_of(Role.DEVELOPER)
    assert token.as_actor().name == "token:ci of user:ana"
    assert issued.secret not in repr(issued)


def test_a_control_token_opens_nothing_of_a_gateway_and_the_reverse(ana: User) -> None:
    control = issue_token(ACTOR, name="ci", scope=TokenScope.CONTROL, user=ana).secret
    gateway = issue_token(ACTOR, name="edge", scope=TokenScope.GATEWAY).secret
    for text, scope in ((control, TokenScope.GATEWAY), (gateway, TokenScope.CONTROL)):
        with pytest.raises(InvalidTokenError):
            get_token(text, scope)


def test_a_revoked_an_expired_and_an_inactive_persons_token_are_refused_alike(ana: User) -> None:
    revoked, expired, orphaned = (issue_token(ACTOR, name=name, scope=TokenScope.CONTROL, user=ana) for name in "abc")
    revoke_token(ACTOR, token=revoked.token)
    ApiToken.objects.filter(pk=expired.token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    texts = set()
    for issued in (revoked, expired):
        with pytest.raises(InvalidTokenError) as refusal:
            get_token(issued.secret, TokenScope.CONTROL)
        texts.add(refusal.value.message)
    User.objects.filter(pk=ana.pk).update(is_active=False)
    with pytest.raises(InvalidTokenError) as refusal:
        get_token(orphaned.secret, TokenScope.CONTROL)
    assert texts == {refusal.value.message}


def test_a_developer_cannot_make_tokens_for_others(ana: User) -> None:
    boss = create_user(ACTOR, username="boss", password="a long password", role=Role.OWNER)
    with pytest.raises(PermissionMissingError):
        issue_token(ana.as_actor(), name="x", scope=TokenScope.CONTROL, user=boss)
    with pytest.raises(PermissionMissingError):
        issue_token(ana.as_actor(), name="x", scope=TokenScope.GATEWAY)


def test_use_is_noted_to_the_minute(ana: User) -> None:
    token = issue_token(ACTOR, name="ci", scope=TokenScope.CONTROL, user=ana).token
    note_token_use(token)
    token.refresh_from_db()
    first = token.last_used_at
    note_token_use(token)
    token.refresh_from_db()
    assert first is not None
    assert token.last_used_at == first


def test_each_role_may_do_all_that_the_one_before_may() -> None:
    granted = [permissions_of(role) for role in Role]
    assert all(lesser < greater for lesser, greater in itertools.pairwise(granted))
    assert granted[-1] == {str(permission.value) for permission in Permission}
    assert permissions_of("nobody") == frozenset()
