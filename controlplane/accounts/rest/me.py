"""``/api/me``: who the caller is."""

from __future__ import annotations

from typing import Any, cast

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.rest.views import ControlView, operation


class TokenSerializer(serializers.Serializer[ApiToken]):
    """The token a request came with."""

    name = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)


class MeSerializer(serializers.Serializer[Any]):
    """The caller, and what the caller may do."""

    username = serializers.CharField()
    role = serializers.CharField()
    permissions = serializers.ListField(child=serializers.CharField())
    token = TokenSerializer(allow_null=True, help_text="Null where a browser's session was used.")


class MeView(ControlView):
    @operation("me_retrieve", MeSerializer)
    def get(self, request: Request) -> Response:
        """Who the caller is, and what the caller may do."""
        user = cast(User, request.user)
        me = {
            "username": user.get_username(),
            "role": user.role,
            "permissions": sorted(self.actor.permissions),
            "token": request.auth if isinstance(request.auth, ApiToken) else None,
        }
        return Response(MeSerializer(me).data)
