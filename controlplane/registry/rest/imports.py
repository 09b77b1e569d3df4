"""``/api/imports``: versions on their way into the registry."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation
from controlplane.registry.domain import ImportState
from controlplane.registry.import_jobs import cancel_import, get_import, list_imports, retry_import
from controlplane.registry.models import VersionImport


class ImportSerializer(serializers.Serializer[VersionImport]):
    """An import and how far it has come."""

    id = serializers.IntegerField()
    model = serializers.CharField(source="model.slug")
    version = serializers.CharField(source="semver")
    number = serializers.IntegerField(
        source="version.number", default=None, allow_null=True, help_text="Of the version, once there is one."
    )
    state = serializers.ChoiceField(choices=ImportState.choices)
    message = serializers.CharField(help_text="What is being done.")
    bytes_done = serializers.IntegerField()
    bytes_total = serializers.IntegerField(help_text="0: not yet known.")
    error = serializers.CharField(help_text="Why it failed.")
    error_code = serializers.CharField()
    findings = serializers.ListField(child=serializers.DictField(), help_text="What is wrong with the files.")
    server_path = serializers.CharField(help_text="Where the files lie; empty where they were uploaded.")
    attempt = serializers.IntegerField()
    cancel_requested = serializers.BooleanField()
    requested_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class ImportQuerySerializer(serializers.Serializer[Any]):
    """Which imports to list."""

    model = serializers.CharField(required=False, help_text="Of this model.")
    state = serializers.ChoiceField(choices=ImportState.choices, required=False)


class ImportsView(ControlView):
    @operation("imports_list", ImportSerializer(many=True), query=ImportQuerySerializer, errors=(400,))
    def get(self, request: Request) -> Response:
        """All imports, newest first."""
        query = self.read_query(ImportQuerySerializer)
        return self.page(list_imports(**query), ImportSerializer)


class ImportView(ControlView):
    @operation("imports_retrieve", ImportSerializer, errors=(404,))
    def get(self, request: Request, import_id: int) -> Response:
        """How far an import has come."""
        return Response(ImportSerializer(get_import(import_id)).data)


class ImportCancelView(ControlView):
    @operation("imports_cancel", ImportSerializer, errors=(404, 409))
    def post(self, request: Request, import_id: int) -> Response:
        """Asks an import to stop before its next step; one that waits is cancelled at once."""
        return Response(ImportSerializer(cancel_import(self.actor, job=get_import(import_id))).data)


class ImportRetryView(ControlView):
    @operation("imports_retry", ImportSerializer, errors=(404, 409))
    def post(self, request: Request, import_id: int) -> Response:
        """Runs a failed or cancelled import again."""
        return Response(ImportSerializer(retry_import(self.actor, job=get_import(import_id))).data)
