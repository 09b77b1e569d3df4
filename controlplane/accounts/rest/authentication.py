"""Who calls the REST API."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from controlplane.accounts.domain import TokenScope
from controlplane.accounts.errors import InvalidTokenError
from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.selectors import get_token
from controlplane.accounts.services import note_token_use
from controlplane.audit.domain import Actor


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer tct_...``: a control token, which acts with the permissions of its owner."""

    scope = TokenScope.CONTROL

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The user and the token; None when the request carries no bearer token."""
        text = bearer_token(request)
        if text is None:
            return None
        try:
            token = get_token(text, self.scope)
        except InvalidTokenError as error:
            raise AuthenticationFailed(error.message, code=error.code) from None
        if token.user is None:
            raise AuthenticationFailed("This token acts for nobody.", code=InvalidTokenError.code)
        note_token_use(token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes a missing token a 401 and not a 403."""
        return "Bearer"


class TokenAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI schema describes `TokenAuthentication`."""

    target_class = "controlplane.accounts.rest.authentication.TokenAuthentication"
    name = "controlToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """An HTTP bearer scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "tct_..."}


def bearer_token(request: Request | HttpRequest) -> str | None:
    """The text behind ``Authorization: Bearer``, if there is one."""
    parts = get_authorization_header(cast(Request, request)).split()
    if len(parts) != 2 or parts[0].lower() != b"bearer":
        return None
    return parts[1].decode("latin-1")


def actor_of(request: Request | HttpRequest) -> Actor:
    """The actor of an authenticated request."""
    address = request.META.get("REMOTE_ADDR", "")
    token = getattr(request, "auth", None)
    if isinstance(token, ApiToken):
        return token.as_actor(address)
    return cast(User, request.user).as_actor(address)
