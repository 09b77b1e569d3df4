"""Reads of people and tokens."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.errors import InvalidTokenError
from controlplane.accounts.models import ApiToken, User
from controlplane.env import control_settings
from controlplane.wire.keys import CONTROL_TOKEN, GATEWAY_TOKEN, hash_key, parse_key, same_hash

PREFIXES = {TokenScope.CONTROL: CONTROL_TOKEN, TokenScope.GATEWAY: GATEWAY_TOKEN}


def pepper() -> bytes:
    """The pepper of this control plane's key hashes, from its file."""
    return control_settings().secrets.read("pepper")


def get_token(text: str, scope: TokenScope) -> ApiToken:
    """The usable token of that text and scope.

    Raises:
        InvalidTokenError: there is none.
    """
    parsed = parse_key(text, PREFIXES[scope])
    digest = hash_key(text, pepper())
    token = (
        ApiToken.objects.select_related("user").filter(token_id=parsed.key_id, scope=scope).first() if parsed else None
    )
    if token is None or not same_hash(bytes(token.digest), digest) or not token.usable:
        raise InvalidTokenError("This token is not known here, or no longer valid.")
    if token.user is not None and not token.user.is_active:
        raise InvalidTokenError("This token is not known here, or no longer valid.")
    return token


def active_owners() -> QuerySet[User]:
    """Everybody who may manage accounts and can sign in."""
    return User.objects.filter(Q(role=Role.OWNER) | Q(is_superuser=True), is_active=True, is_staff=True)


def list_tokens(*, of_user: int | None = None) -> QuerySet[ApiToken]:
    """All tokens, or those of one person, newest first, with whom they act for."""
    tokens = ApiToken.objects.select_related("user").order_by("-id")
    return tokens if of_user is None else tokens.filter(user_id=of_user)
