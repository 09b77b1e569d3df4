"""``/api/pools``: Tritons that serve one repository."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation
from controlplane.fleet.domain import UNDO_WINDOW_S
from controlplane.fleet.models import Pool
from controlplane.fleet.selectors import get_pool, list_pools
from controlplane.fleet.services import register_pool

MAX_UNDO_WINDOW_S = 366 * 24 * 3600


class PoolSerializer(serializers.Serializer[Pool]):
    """A pool."""

    slug = serializers.CharField()
    title = serializers.CharField()
    repository = serializers.CharField(help_text="The model repository, as the workers see it.")
    server_repository = serializers.CharField(help_text="The same repository, as its Tritons see it.")
    gpu = serializers.BooleanField(help_text="Its Tritons run models on GPUs.")
    undo_window_s = serializers.IntegerField(help_text="How long a retired version can be restored.")
    servers = serializers.SerializerMethodField(help_text="Names of its servers.")
    created_at = serializers.DateTimeField()

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_servers(self, pool: Pool) -> list[str]:
        return [server.name for server in pool.servers.all()]


class NewPoolSerializer(serializers.Serializer[Any]):
    """A pool to register."""

    slug = serializers.CharField(max_length=50)
    title = serializers.CharField(max_length=200, required=False, help_text="By default the slug.")
    repository = serializers.CharField(max_length=500, help_text="An absolute path.")
    server_repository = serializers.CharField(max_length=500, required=False, help_text="By default the same path.")
    gpu = serializers.BooleanField(default=False)
    undo_window_s = serializers.IntegerField(
        min_value=0, max_value=MAX_UNDO_WINDOW_S, default=UNDO_WINDOW_S, help_text="By default seven days."
    )


class PoolsView(ControlView):
    @operation("pools_list", PoolSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The pools, by name."""
        return self.page(list_pools(), PoolSerializer)

    @operation("pools_create", PoolSerializer, status=HTTPStatus.CREATED, request=NewPoolSerializer, errors=(400,))
    def post(self, request: Request) -> Response:
        """Registers a pool, to which servers can then be added."""
        given = self.read_body(NewPoolSerializer)
        given.setdefault("title", given["slug"])
        pool = register_pool(self.actor, **given)
        return Response(PoolSerializer(get_pool(pool.slug)).data, status=HTTPStatus.CREATED)


class PoolView(ControlView):
    @operation("pools_retrieve", PoolSerializer, errors=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """A pool."""
        return Response(PoolSerializer(get_pool(slug)).data)
