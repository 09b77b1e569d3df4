"""How placements are shown: from the side of a version, and from the side of a server."""

from __future__ import annotations

from rest_framework import serializers

from controlplane.fleet.domain import PlacementState
from controlplane.fleet.models import Placement


class PlacementSerializer(serializers.Serializer[Placement]):
    """What was last seen of one version on one server."""

    state = serializers.ChoiceField(choices=PlacementState.choices)
    reason = serializers.CharField(help_text="Triton's own words where it failed.")
    proven = serializers.BooleanField(help_text="A publication proved it here; only then is it routed to.")
    changed_at = serializers.DateTimeField()


class PlacementOnServerSerializer(PlacementSerializer):
    """A version's placement, by its server."""

    server = serializers.CharField(source="server.name")
    pool = serializers.CharField(source="server.pool.slug")
    health = serializers.CharField(source="server.health", help_text="Of the server: `live`, `down` or `unknown`.")


class PlacedVersionSerializer(PlacementSerializer):
    """A server's placement, by its version."""

    model = serializers.CharField(source="version.model.slug")
    version = serializers.CharField(source="version.semver")
    number = serializers.IntegerField(source="version.number")
