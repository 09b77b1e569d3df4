"""Roles and what they may do."""

from __future__ import annotations

from django.db import models


class Permission(models.TextChoices):
    """What a service may ask an actor for."""

    VIEW = "view", "See models, servers and usage"
    MANAGE_MODELS = "manage_models", "Register models and versions"
    MANAGE_KEYS = "manage_keys", "Issue and revoke API keys"
    PUBLISH = "publish", "Publish versions and move aliases"
    MANAGE_FLEET = "manage_fleet", "Change pools and servers"
    MANAGE_ACCOUNTS = "manage_accounts", "Change people, roles and tokens"


class Role(models.TextChoices):
    """What a person is in this control plane. Each role may do all that the one before it may."""

    VIEWER = "viewer", "Viewer"
    DEVELOPER = "developer", "Developer"
    OPERATOR = "operator", "Operator"
    OWNER = "owner", "Owner"


_GRANTS: list[tuple[Role, tuple[Permission, ...]]] = [
    (Role.VIEWER, (Permission.VIEW,)),
    (Role.DEVELOPER, (Permission.MANAGE_MODELS, Permission.MANAGE_KEYS)),
    (Role.OPERATOR, (Permission.PUBLISH, Permission.MANAGE_FLEET)),
    (Role.OWNER, (Permission.MANAGE_ACCOUNTS,)),
]


def permissions_of(role: str) -> frozenset[str]:
    """All permissions of a role, those of the lesser roles included."""
    granted: set[str] = set()
    for candidate, permissions in _GRANTS:
        granted.update(str(permission.value) for permission in permissions)
        if candidate == role:
            return frozenset(granted)
    return frozenset()


class TokenScope(models.TextChoices):
    """What a token opens. A gateway's token opens nothing but the gateway's own endpoints, and the reverse."""

    CONTROL = "control", "Control REST API"
    GATEWAY = "gateway", "Gateway"
