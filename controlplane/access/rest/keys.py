"""``/api/keys``: what clients of the gateway identify themselves with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.access.domain import ALL_SCOPES, Scope
from controlplane.access.models import ApiKey
from controlplane.access.selectors import (
    DEFAULT_ORGANISATION,
    DEFAULT_PLAN,
    DEFAULT_PROJECT,
    get_key,
    get_plan,
    get_project,
    search_keys,
)
from controlplane.access.services import issue_api_key, revoke_api_key
from controlplane.accounts.rest.views import ControlView, operation

MAX_PATTERNS = 100


class KeySerializer(serializers.Serializer[ApiKey]):
    """An API key without its secret, which nobody has but its holder."""

    id = serializers.CharField(source="key_id")
    label = serializers.CharField()  # type: ignore[assignment]  # a field, not what Field has under this name
    environment = serializers.CharField()
    organisation = serializers.CharField(source="project.organisation.slug")
    project = serializers.CharField(source="project.slug")
    plan = serializers.CharField(source="plan.slug")
    owner = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(
        child=serializers.CharField(), source="model_patterns", help_text="Patterns of the models it may use."
    )
    state = serializers.CharField(help_text="`active`, `expired` or `revoked`.")
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    revoked_reason = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the hour.")


class IssuedKeySerializer(KeySerializer):
    """A new key, with its secret for the only time."""

    secret = serializers.SerializerMethodField(help_text="The whole key as clients send it. It cannot be had again.")

    @extend_schema_field(serializers.CharField())
    def get_secret(self, key: ApiKey) -> str:
        return str(self.context["secret"])


class NewKeySerializer(serializers.Serializer[Any]):
    """A key to issue."""

    label = serializers.CharField(max_length=200, help_text="What people know it by.")  # type: ignore[assignment]
    organisation = serializers.CharField(max_length=50, default=DEFAULT_ORGANISATION)
    project = serializers.CharField(max_length=50, default=DEFAULT_PROJECT)
    plan = serializers.CharField(max_length=50, default=DEFAULT_PLAN)
    environment = serializers.CharField(max_length=16, default="live", help_text="Part of the key, for people.")
    owner = serializers.CharField(max_length=200, default="", allow_blank=True)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices), default=list(ALL_SCOPES), max_length=len(ALL_SCOPES)
    )
    models = serializers.ListField(
        child=serializers.CharField(max_length=100),
        default=["*"],
        max_length=MAX_PATTERNS,
        help_text="Patterns of the models it may use; `*` is any run of characters.",
    )
    expires_at = serializers.DateTimeField(default=None, allow_null=True, help_text="Null is never.")


class RevocationSerializer(serializers.Serializer[Any]):
    """Why a key ends."""

    reason = serializers.CharField(max_length=300)


class KeyQuerySerializer(serializers.Serializer[Any]):
    """Which keys to list."""

    search = serializers.CharField(required=False, help_text="Text in the label, id or owner.")
    state = serializers.ChoiceField(choices=["active", "expired", "revoked"], required=False)
    organisation = serializers.CharField(required=False)
    project = serializers.CharField(required=False)


class KeysView(ControlView):
    @operation("keys_list", KeySerializer(many=True), query=KeyQuerySerializer, errors=(400,))
    def get(self, request: Request) -> Response:
        """The API keys, newest first."""
        query = self.read_query(KeyQuerySerializer)
        return self.page(search_keys(text=query.pop("search", ""), **query), KeySerializer)

    @operation(
        "keys_create", IssuedKeySerializer, status=HTTPStatus.CREATED, request=NewKeySerializer, errors=(400, 404)
    )
    def post(self, request: Request) -> Response:
        """Issues a key. Only this answer holds its secret; the gateways know the key within a second."""
        given = self.read_body(NewKeySerializer)
        issued = issue_api_key(
            self.actor,
            project=get_project(given.pop("organisation"), given.pop("project")),
            plan=get_plan(given.pop("plan")),
            scopes=tuple(given.pop("scopes")),
            models=tuple(given.pop("models")),
            **given,
        )
        answer = IssuedKeySerializer(issued.key, context={"secret": issued.secret}).data
        return Response(answer, status=HTTPStatus.CREATED)


class KeyView(ControlView):
    @operation("keys_retrieve", KeySerializer, errors=(404,))
    def get(self, request: Request, key_id: str) -> Response:
        """A key."""
        return Response(KeySerializer(get_key(key_id)).data)


class KeyRevocationView(ControlView):
    @operation("keys_revoke", KeySerializer, request=RevocationSerializer, errors=(400, 404))
    def post(self, request: Request, key_id: str) -> Response:
        """Ends a key for good; every gateway refuses it within a second. Revoking it again changes nothing."""
        reason = self.read_body(RevocationSerializer)["reason"]
        revoke_api_key(self.actor, key=get_key(key_id), reason=reason)
        return Response(KeySerializer(get_key(key_id)).data)
