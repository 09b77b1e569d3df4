"""Who may use the REST API at all. What a caller may change is asked by the services."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from controlplane.accounts.domain import Permission
from controlplane.accounts.rest.authentication import actor_of


class MayView(BasePermission):
    """Lets everybody in whose role may see things."""

    message = "Your role may not see this. Ask an owner for the role of a viewer at least."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the caller is known and may see things."""
        if isinstance(request.user, AnonymousUser) or not request.user.is_authenticated:
            return False
        return actor_of(request).may(Permission.VIEW)
