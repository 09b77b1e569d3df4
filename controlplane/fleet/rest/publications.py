"""``/api/publications``: the way of a version into a pool, step by step."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation
from controlplane.fleet.domain import PublicationKind, PublicationState, PublicationStep, StepState
from controlplane.fleet.models import Publication, PublicationStepRun
from controlplane.fleet.selectors import get_publication
from controlplane.fleet.services import cancel_publication, retry_publication
from controlplane.registry.rest.versions import FindingSerializer


class StepSerializer(serializers.Serializer[PublicationStepRun]):
    """One run of one step."""

    step = serializers.ChoiceField(choices=PublicationStep.choices)
    title = serializers.CharField(source="get_step_display", help_text="What the step does, for people.")
    attempt = serializers.IntegerField()
    state = serializers.ChoiceField(choices=StepState.choices)
    detail = serializers.CharField()
    error = serializers.CharField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    duration_s = serializers.FloatField(allow_null=True)


class PublicationSerializer(serializers.Serializer[Publication]):
    """A publication with the steps it has taken; those of earlier attempts come first."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=PublicationKind.choices, help_text="Into the pool, out of it, or back.")
    model = serializers.CharField(source="version.model.slug")
    version = serializers.CharField(source="version.semver")
    number = serializers.IntegerField(source="version.number")
    pool = serializers.CharField(source="pool.slug")
    state = serializers.ChoiceField(choices=PublicationState.choices)
    error = serializers.CharField(help_text="Why it failed.")
    findings = FindingSerializer(many=True, help_text="What staff should know though it stops nothing.")
    signature = serializers.DictField(
        child=serializers.CharField(), help_text="The publisher's signature of the files and the configuration."
    )
    held_by = serializers.ListField(child=serializers.CharField(), help_text="Gateways that a retirement waits for.")
    attic_until = serializers.DateTimeField(
        allow_null=True, help_text="Until then a retired version can be restored from the attic."
    )
    attempt = serializers.IntegerField()
    cancel_requested = serializers.BooleanField()
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    steps = StepSerializer(many=True)


class PublicationView(ControlView):
    @operation("publications_retrieve", PublicationSerializer, errors=(404,))
    def get(self, request: Request, publication_id: int) -> Response:
        """How far a publication has come."""
        return Response(PublicationSerializer(get_publication(publication_id)).data)


class PublicationRetryView(ControlView):
    @operation("publications_retry", PublicationSerializer, errors=(404, 409))
    def post(self, request: Request, publication_id: int) -> Response:
        """Runs a failed or cancelled publication again; steps that were done find their work done."""
        retry_publication(self.actor, publication=get_publication(publication_id))
        return Response(PublicationSerializer(get_publication(publication_id)).data)


class PublicationCancelView(ControlView):
    @operation("publications_cancel", PublicationSerializer, errors=(404, 409))
    def post(self, request: Request, publication_id: int) -> Response:
        """Asks a publication to stop before its next step; one that waits is cancelled at once."""
        cancel_publication(self.actor, publication=get_publication(publication_id))
        return Response(PublicationSerializer(get_publication(publication_id)).data)
