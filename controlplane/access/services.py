"""Writes to organisations, projects and API keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from controlplane.access.domain import ALL_SCOPES
from controlplane.access.errors import InvalidKeyRequestError
from controlplane.access.models import ApiKey, Organisation, Plan, Project
from controlplane.access.selectors import DEFAULT_ORGANISATION, DEFAULT_PLAN, DEFAULT_PROJECT
from controlplane.accounts.domain import Permission
from controlplane.accounts.selectors import pepper
from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.wire.keys import generate_key, hash_key

_PATTERN = re.compile(r"[a-z0-9*][a-z0-9._*-]{0,99}")


@dataclass(frozen=True)
class IssuedKey:
    """A new API key; `secret` is its text and exists nowhere else."""

    key: ApiKey
    secret: str = field(repr=False)


@transaction.atomic
def ensure_defaults(actor: Actor) -> tuple[Project, Plan]:
    """Makes the organisation, project and plan that a fresh control plane has; changes nothing where they exist."""
    actor.require(Permission.MANAGE_ACCOUNTS)
    organisation, _ = Organisation.objects.get_or_create(slug=DEFAULT_ORGANISATION, defaults={"name": "Default"})
    project, _ = Project.objects.get_or_create(
        organisation=organisation, slug=DEFAULT_PROJECT, defaults={"name": "Default"}
    )
    plan, _ = Plan.objects.get_or_create(
        slug=DEFAULT_PLAN, defaults={"title": "Local", "description": "For work on one machine; never limits anything."}
    )
    return project, plan


@transaction.atomic
def issue_api_key(
    actor: Actor,
    *,
    project: Project,
    plan: Plan,
    label: str,
    environment: str = "live",
    owner: str = "",
    scopes: tuple[str, ...] = ALL_SCOPES,
    models: tuple[str, ...] = ("*",),
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Issues a key and returns its text, which cannot be had again. The gateways know it within a second.

    Args:
        actor: who issues it.
        project: whose use it counts as.
        plan: the tier whose limits apply.
        label: what people know it by.
        environment: the part of the key that tells a person what it is for: ``live``, ``test``, ``local``.
        owner: who answers for it.
        scopes: what it may be used for.
        models: patterns of the models it may use.
        expires_at: when it stops working; None is never.

    Raises:
        PermissionMissingError: the actor may not manage keys.
        InvalidKeyRequestError: a scope or pattern is not known, or the expiry has passed.
        InvalidError: the environment is not lower-case letters and digits.
    """
    actor.require(Permission.MANAGE_KEYS)
    _check_request(label, scopes, models, expires_at)
    generated = generate_key(environment)
    key = ApiKey.objects.create(
        project=project,
        plan=plan,
        label=label,
        key_id=generated.key_id,
        environment=environment,
        digest=hash_key(generated.text, pepper()),
        owner=owner,
        scopes=list(scopes),
        model_patterns=list(models),
        expires_at=expires_at,
        created_by=actor.name,
    )
    after = {"label": label, "project": str(project), "plan": plan.slug, "scopes": list(scopes), "models": list(models)}
    record(actor, action="access.issue_api_key", target=key, after=after)
    touch("key", [key.key_id])
    return IssuedKey(key, generated.text)


@transaction.atomic
def revoke_api_key(actor: Actor, *, key: ApiKey, reason: str) -> ApiKey:
    """Ends a key for good: every gateway refuses it within a second. Revoking it twice changes nothing.

    Raises:
        PermissionMissingError: the actor may not manage keys.
    """
    actor.require(Permission.MANAGE_KEYS)
    now = timezone.now()
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now, revoked_reason=reason):
        record(actor, action="access.revoke_api_key", target=key, after={"reason": reason})
        touch("key", [key.key_id])
    key.refresh_from_db()
    return key


def _check_request(label: str, scopes: tuple[str, ...], models: tuple[str, ...], expires_at: datetime | None) -> None:
    if not label.strip():
        raise InvalidKeyRequestError("A key needs a label, so that people know what it is for.")
    if unknown := sorted(set(scopes) - set(ALL_SCOPES)):
        raise InvalidKeyRequestError(f"Unknown scopes {unknown}; there are {list(ALL_SCOPES)}.")
    if wrong := [pattern for pattern in models if not _PATTERN.fullmatch(pattern)]:
        raise InvalidKeyRequestError(
            f"{wrong} are no model patterns: use a model's name, with * for any run of characters."
        )
    if not scopes or not models:
        raise InvalidKeyRequestError("A key needs at least one scope and one model pattern.")
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidKeyRequestError("The expiry lies in the past.")
