"""``/api/servers``: the Tritons, and what was last seen of each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation
from controlplane.fleet.domain import Health, ServerState
from controlplane.fleet.models import Server
from controlplane.fleet.rest.placements import PlacedVersionSerializer
from controlplane.fleet.selectors import get_pool, get_server, search_servers
from controlplane.fleet.services import register_server, set_server_state


class ServerSummarySerializer(serializers.Serializer[Server]):
    """A server in a list."""

    name = serializers.CharField()
    pool = serializers.CharField(source="pool.slug")
    http_address = serializers.CharField()
    grpc_address = serializers.CharField()
    metrics_address = serializers.CharField()
    state = serializers.ChoiceField(choices=ServerState.choices, help_text="What staff want of it.")
    health = serializers.ChoiceField(choices=Health.choices, help_text="What was last seen of it.")
    health_reason = serializers.CharField()
    triton_version = serializers.CharField()
    seen_at = serializers.DateTimeField(allow_null=True, help_text="When it last answered.")
    created_at = serializers.DateTimeField()


class ServerSerializer(ServerSummarySerializer):
    """A server, with what lies on it."""

    control_secret = serializers.CharField(help_text="Name of the secret file with its control API's password.")
    extensions = serializers.ListField(child=serializers.CharField())
    placements = PlacedVersionSerializer(many=True)


class NewServerSerializer(serializers.Serializer[Any]):
    """A server to register. Addresses are `host:port`, as gateways and workers reach it."""

    name = serializers.CharField(max_length=50)
    pool = serializers.CharField(max_length=50)
    http_address = serializers.CharField(max_length=200)
    grpc_address = serializers.CharField(max_length=200)
    metrics_address = serializers.CharField(max_length=200, default="", allow_blank=True)
    control_secret = serializers.CharField(
        max_length=50,
        default="",
        allow_blank=True,
        help_text="Name of a file in the secrets folder with its control API's password; never the password.",
    )


class ServerQuerySerializer(serializers.Serializer[Any]):
    """Which servers to list."""

    pool = serializers.CharField(required=False)
    state = serializers.ChoiceField(choices=ServerState.choices, required=False)
    health = serializers.ChoiceField(choices=Health.choices, required=False)


class ServersView(ControlView):
    @operation("servers_list", ServerSummarySerializer(many=True), query=ServerQuerySerializer, errors=(400,))
    def get(self, request: Request) -> Response:
        """The servers, by name."""
        return self.page(search_servers(**self.read_query(ServerQuerySerializer)), ServerSummarySerializer)

    @operation(
        "servers_create", ServerSerializer, status=HTTPStatus.CREATED, request=NewServerSerializer, errors=(400, 404)
    )
    def post(self, request: Request) -> Response:
        """Adds a server to a pool, or gives one that is known by this name other addresses."""
        given = self.read_body(NewServerSerializer)
        server = register_server(self.actor, pool=get_pool(given.pop("pool")), **given)
        return Response(ServerSerializer(get_server(server.name)).data, status=HTTPStatus.CREATED)


class ServerView(ControlView):
    @operation("servers_retrieve", ServerSerializer, errors=(404,))
    def get(self, request: Request, name: str) -> Response:
        """A server, with the versions on it."""
        return Response(ServerSerializer(get_server(name)).data)


class ServerCordonView(ControlView):
    @operation("servers_cordon", ServerSerializer, errors=(404,))
    def post(self, request: Request, name: str) -> Response:
        """Takes a server out of routing wherever another one can take its requests."""
        set_server_state(self.actor, server=get_server(name), state=ServerState.CORDONED)
        return Response(ServerSerializer(get_server(name)).data)


class ServerUncordonView(ControlView):
    @operation("servers_uncordon", ServerSerializer, errors=(404,))
    def post(self, request: Request, name: str) -> Response:
        """Puts a cordoned server back into routing."""
        set_server_state(self.actor, server=get_server(name), state=ServerState.ACTIVE)
        return Response(ServerSerializer(get_server(name)).data)
