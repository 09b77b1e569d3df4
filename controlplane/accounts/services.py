"""Writes to people and tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from controlplane.accounts.domain import Permission, Role, TokenScope
from controlplane.accounts.errors import LastOwnerError
from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.selectors import PREFIXES, active_owners, pepper
from controlplane.audit.domain import Actor
from controlplane.audit.services import record
from controlplane.wire.keys import generate_key, hash_key


@dataclass(frozen=True)
class IssuedToken:
    """A new token; `secret` is its text and exists nowhere else."""

    token: ApiToken
    secret: str = field(repr=False)


@transaction.atomic
def create_user(actor: Actor, *, username: str, password: str, role: Role, superuser: bool = False) -> User:
    """Makes a member of staff.

    Raises:
        PermissionMissingError: the actor may not manage accounts.
    """
    actor.require(Permission.MANAGE_ACCOUNTS)
    user = User(username=username, role=role, is_staff=True, is_superuser=superuser)
    user.set_password(password)
    user.save()
    record(actor, action="accounts.create_user", target=user, after={"username": username, "role": role})
    return user


@transaction.atomic
def update_user(actor: Actor, *, user: User, role: Role | None = None, active: bool | None = None) -> User:
    """Changes what a person may do, or whether they may sign in at all; None leaves a side as it is.

    Raises:
        PermissionMissingError: the actor may not manage accounts.
        LastOwnerError: nobody would be left who can manage accounts.
    """
    actor.require(Permission.MANAGE_ACCOUNTS)
    wanted = {"role": role, "is_active": active}
    after = {name: value for name, value in wanted.items() if value is not None and value != getattr(user, name)}
    before = {name: getattr(user, name) for name in after}
    if after:
        User.objects.filter(pk=user.pk).update(**after)
        if not active_owners().exists():
            raise LastOwnerError(f"{user.get_username()} is the last owner: make somebody else an owner first.")
        user.refresh_from_db()
        record(actor, action="accounts.update_user", target=user, before=before, after=after)
    return user


@transaction.atomic
def set_password(actor: Actor, *, user: User, password: str) -> None:
    """Gives a person another password, which ends their sessions.

    Raises:
        PermissionMissingError: it is somebody else and the actor may not manage accounts.
    """
    if user.pk != actor.user_id:
        actor.require(Permission.MANAGE_ACCOUNTS)
    user.set_password(password)
    user.save(update_fields=["password"])
    record(actor, action="accounts.set_password", target=user)


@transaction.atomic
def issue_token(
    actor: Actor, *, name: str, scope: TokenScope, user: User | None = None, expires_at: datetime | None = None
) -> IssuedToken:
    """Makes a token and returns its text, which cannot be had again.

    Args:
        actor: who asks; making a token for a gateway or for somebody else needs the permission to manage accounts.
        name: what people know it by.
        scope: what it opens.
        user: whom it acts for; a gateway's token acts for nobody.
        expires_at: when it stops working; None is never.

    Raises:
        PermissionMissingError: the actor may not issue this token.
    """
    if scope == TokenScope.GATEWAY or user is None or user.pk != actor.user_id:
        actor.require(Permission.MANAGE_ACCOUNTS)
    key = generate_key("live", PREFIXES[scope])
    token = ApiToken.objects.create(
        name=name,
        scope=scope,
        token_id=key.key_id,
        digest=hash_key(key.text, pepper()),
        user=user,
        expires_at=expires_at,
    )
    record(actor, action="accounts.issue_token", target=token, after={"name": name, "scope": scope})
    return IssuedToken(token, key.text)


@transaction.atomic
def revoke_token(actor: Actor, *, token: ApiToken) -> None:
    """Ends a token for good; revoking it twice changes nothing.

    Raises:
        PermissionMissingError: the token is somebody else's and the actor may not manage accounts.
    """
    if token.user_id is None or token.user_id != actor.user_id:
        actor.require(Permission.MANAGE_ACCOUNTS)
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        record(actor, action="accounts.revoke_token", target=token)


def note_token_use(token: ApiToken) -> None:
    """Remembers to the minute that a token was used; coarse, so that reading the API does not mean writing a row."""
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=1):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
