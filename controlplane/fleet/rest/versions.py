"""``/api/models/{slug}/versions/{version}``: one version, where it lies, and publishing it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation, serialize_all
from controlplane.fleet.models import Publication
from controlplane.fleet.rest.placements import PlacementOnServerSerializer
from controlplane.fleet.rest.publications import PublicationSerializer
from controlplane.fleet.selectors import DEFAULT_POOL, get_pool, get_publication, list_placements, list_publications
from controlplane.fleet.services import publish_version, restore_version, retire_version
from controlplane.registry.models import ModelVersion
from controlplane.registry.rest.versions import VersionSerializer
from controlplane.registry.selectors import get_version

F = TypeVar("F", bound=Callable[..., Any])

SHOWN_PUBLICATIONS = 20


class VersionDetailSerializer(VersionSerializer):
    """All about a version: what it is, where it lies, and how it got there."""

    placements = serializers.SerializerMethodField(help_text="What was last seen of it on each server.")
    publications = serializers.SerializerMethodField(help_text=f"The last {SHOWN_PUBLICATIONS}, newest first.")

    @extend_schema_field(PlacementOnServerSerializer(many=True))
    def get_placements(self, version: ModelVersion) -> Any:
        return serialize_all(PlacementOnServerSerializer, list_placements(version))

    @extend_schema_field(PublicationSerializer(many=True))
    def get_publications(self, version: ModelVersion) -> Any:
        return serialize_all(PublicationSerializer, list_publications(version)[:SHOWN_PUBLICATIONS])


class PublishSerializer(serializers.Serializer[Any]):
    """The pool that it is about."""

    pool = serializers.CharField(max_length=50, default=DEFAULT_POOL)


class VersionView(ControlView):
    @operation("versions_retrieve", VersionDetailSerializer, errors=(404,))
    def get(self, request: Request, slug: str, version: str) -> Response:
        """All about a version, which is named by its semver, its number (`3`) or `v3`."""
        return Response(VersionDetailSerializer(get_version(slug, version)).data)


class _PublicationView(ControlView):
    """Asks for something to be done with a version in a pool."""

    def ask(self, slug: str, version: str, service: Callable[..., Publication]) -> Response:
        pool = get_pool(self.read_body(PublishSerializer)["pool"])
        publication = service(self.actor, version=get_version(slug, version), pool=pool)
        answer = PublicationSerializer(get_publication(publication.pk)).data
        location = f"/api/publications/{publication.pk}"
        return Response(answer, status=HTTPStatus.ACCEPTED, headers={"Location": location})


def _asking(operation_id: str) -> Callable[[F], F]:
    return operation(
        operation_id,
        PublicationSerializer,
        status=HTTPStatus.ACCEPTED,
        request=PublishSerializer,
        errors=(400, 404, 409),
    )


class VersionPublishView(_PublicationView):
    @_asking("versions_publish")
    def post(self, request: Request, slug: str, version: str) -> Response:
        """Asks for a version to be published; `Location` says where to watch. Asking again gives the same one."""
        return self.ask(slug, version, publish_version)


class VersionRetireView(_PublicationView):
    @_asking("versions_retire")
    def post(self, request: Request, slug: str, version: str) -> Response:
        """Asks for a version to leave a pool; no request notices. One that an alias points to stays."""
        return self.ask(slug, version, retire_version)


class VersionRestoreView(_PublicationView):
    @_asking("versions_restore")
    def post(self, request: Request, slug: str, version: str) -> Response:
        """Asks for a retired version to be brought back, which is possible for some days."""
        return self.ask(slug, version, restore_version)
