"""``/api/models/{slug}/aliases``: the named pointers that clients follow."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation
from controlplane.registry.models import Alias, AliasMove
from controlplane.registry.selectors import HISTORY_LENGTH, get_alias, get_model, get_version, list_aliases
from controlplane.registry.services import set_alias


class AliasMoveSerializer(serializers.Serializer[AliasMove]):
    """One move of an alias."""

    from_version = serializers.SerializerMethodField(help_text="Null for the first move.")
    to_version = serializers.CharField(source="to_version.semver")
    moved_by = serializers.CharField()
    moved_at = serializers.DateTimeField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_from_version(self, move: AliasMove) -> str | None:
        return move.from_version.semver if move.from_version else None


class AliasSerializer(serializers.Serializer[Alias]):
    """An alias and where it pointed before."""

    model = serializers.CharField(source="model.slug")
    alias = serializers.CharField(source="name")
    version = serializers.CharField(source="version.semver")
    number = serializers.IntegerField(source="version.number")
    default = serializers.SerializerMethodField("is_default", help_text="Requests that name no version follow it.")
    updated_at = serializers.DateTimeField()
    history = AliasMoveSerializer(
        source="recent_moves", many=True, help_text=f"The last {HISTORY_LENGTH} moves, newest first."
    )

    @extend_schema_field(serializers.BooleanField())
    def is_default(self, alias: Alias) -> bool:
        return alias.name == alias.model.default_alias


class AliasTargetSerializer(serializers.Serializer[Any]):
    """Where an alias shall point."""

    version = serializers.CharField(max_length=100, help_text="A published version: `1.0.0`, `3` or `v3`.")


class AliasesView(ControlView):
    @operation("aliases_list", AliasSerializer(many=True), errors=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """A model's aliases, each with its history."""
        return self.page(list_aliases(slug), AliasSerializer)


class AliasView(ControlView):
    @operation("aliases_retrieve", AliasSerializer, errors=(404,))
    def get(self, request: Request, slug: str, alias: str) -> Response:
        """An alias with its history."""
        return Response(AliasSerializer(get_alias(slug, alias)).data)

    @operation("aliases_set", AliasSerializer, request=AliasTargetSerializer, errors=(400, 404, 409))
    def put(self, request: Request, slug: str, alias: str) -> Response:
        """Points an alias at a published version, making it where there is none. Clients follow within a second."""
        target = self.read_body(AliasTargetSerializer)["version"]
        set_alias(self.actor, model=get_model(slug), name=alias, version=get_version(slug, target))
        return Response(AliasSerializer(get_alias(slug, alias)).data)
