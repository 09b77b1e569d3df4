"""``/api/models/{slug}/versions``: what was imported, and importing.

One version, with where it lies, is `fleet.rest.versions`: the registry does not know of servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, BinaryIO, cast
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.fields import StorableJSONField
from controlplane.accounts.rest.parsers import JsonParser, UploadParser
from controlplane.accounts.rest.views import ControlView, operation, serialize_all
from controlplane.registry.domain import VersionState
from controlplane.registry.import_jobs import NewImport, request_import
from controlplane.registry.importing import MODEL_FILE, VersionDraft, import_version
from controlplane.registry.models import ModelVersion, RegisteredModel, VersionApproval, VersionFile
from controlplane.registry.rest.imports import ImportSerializer
from controlplane.registry.selectors import approvals_missing, get_model, get_version, list_version_summaries
from controlplane.registry.services import approve_version, set_deprecation

MAX_UPLOADS = 1000
MAX_EXTRA_FILES = 90
"""Django's parser takes a hundred parts with files."""


class TensorSerializer(serializers.Serializer[Any]):
    """A tensor, as in V2 metadata."""

    name = serializers.CharField()
    datatype = serializers.CharField()
    shape = serializers.ListField(child=serializers.IntegerField(), help_text="-1 is any size.")


class FindingSerializer(serializers.Serializer[Any]):
    """Something about the files that their author should know."""

    code = serializers.CharField()
    path = serializers.CharField()
    message = serializers.CharField()
    fix = serializers.CharField()
    severity = serializers.CharField(help_text="`error`, `warning` or `info`; an error keeps it from being published.")


class VersionFileSerializer(serializers.Serializer[VersionFile]):
    """A file of a version."""

    path = serializers.CharField()
    sha256 = serializers.CharField(source="artifact.sha256")
    size_bytes = serializers.IntegerField(source="artifact.size_bytes")


class VersionSummarySerializer(serializers.Serializer[ModelVersion]):
    """A version in a list."""

    version = serializers.CharField(source="semver")
    number = serializers.IntegerField(help_text="The version in Triton and in `/v2` requests.")
    state = serializers.ChoiceField(choices=VersionState.choices)
    default = serializers.SerializerMethodField("is_default", help_text="The model's default alias points to it.")
    aliases = serializers.SerializerMethodField(help_text="Aliases that point to it.")
    deprecated = serializers.BooleanField()
    deprecation_message = serializers.CharField()
    backend = serializers.CharField()
    size_bytes = serializers.IntegerField()
    metrics = serializers.DictField(help_text="What its author measured.")
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(serializers.BooleanField())
    def is_default(self, version: ModelVersion) -> bool:
        return version.model.default_alias in self.get_aliases(version)

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_aliases(self, version: ModelVersion) -> list[str]:
        return [alias.name for alias in version.aliases.all()]


class ApprovalSerializer(serializers.Serializer[VersionApproval]):
    """One person's word that a version may be published."""

    approved_by = serializers.CharField()
    approved_at = serializers.DateTimeField()


class VersionSerializer(VersionSummarySerializer):
    """A version with what inspecting its files found."""

    model = serializers.CharField(source="model.slug")
    triton_name = serializers.CharField(help_text="Its model name inside Triton.")
    failure = serializers.CharField(help_text="Why it cannot be served; empty if it can.")
    findings = FindingSerializer(many=True)
    inputs = TensorSerializer(many=True)
    outputs = TensorSerializer(many=True)
    config = serializers.CharField(help_text="config.pbtxt, before the settings of a pool.")
    digest = serializers.CharField(help_text="SHA-256 of the manifest of its files.")
    signature = serializers.DictField(
        child=serializers.CharField(), help_text="The publisher's signature of the digest; empty: not signed yet."
    )
    approvals = ApprovalSerializer(many=True)
    approvals_missing = serializers.SerializerMethodField(help_text="How many more people must approve it.")
    carries_code = serializers.BooleanField(help_text="It brings code that servers run; two people must approve it.")
    memory_bytes = serializers.IntegerField(allow_null=True, help_text="What it needs once loaded, as its author says.")
    parts = serializers.SerializerMethodField(help_text="The versions an ensemble is made of.")
    files = serializers.SerializerMethodField()
    dataset_notes = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field, not what Field has under this name
    updated_at = serializers.DateTimeField()

    def get_approvals_missing(self, version: ModelVersion) -> int:
        return approvals_missing(version)

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_parts(self, version: ModelVersion) -> list[str]:
        return [str(part) for part in version.parts.select_related("model")]

    @extend_schema_field(VersionFileSerializer(many=True))
    def get_files(self, version: ModelVersion) -> Any:
        return serialize_all(VersionFileSerializer, version.files.select_related("artifact"))


class VersionNotesSerializer(serializers.Serializer[Any]):
    """What is said of a new version, wherever its files come from."""

    semver = serializers.CharField(max_length=100, help_text="A semantic version: `1.2.3`, `1.2.3-rc.1`.")
    metrics = StorableJSONField(required=False, help_text='Measurements by name, as JSON: `{"accuracy": 0.97}`.')
    golden = StorableJSONField(
        required=False,
        help_text="Requests with known answers, as a JSON list of `{inputs, outputs, tolerance}` in V2 tensors.",
    )
    dataset_notes = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    memory_bytes = serializers.IntegerField(
        min_value=1, max_value=2**50, required=False, help_text="What it needs once loaded; else its size is taken."
    )
    source = serializers.CharField(max_length=500, required=False, allow_blank=True)  # type: ignore[assignment]

    def validate_metrics(self, metrics: Any) -> Any:
        if not isinstance(metrics, dict):
            raise serializers.ValidationError('Give an object of measurements by name: {"accuracy": 0.97}.')
        return metrics

    def validate_golden(self, golden: Any) -> Any:
        if not isinstance(golden, list) or not all(isinstance(sample, dict) for sample in golden):
            raise serializers.ValidationError("Give a list of objects with inputs and outputs.")
        return golden


class NewVersionSerializer(VersionNotesSerializer):
    """A version with its files."""

    file = serializers.FileField(help_text=f"The graph; it is stored as {MODEL_FILE}, whatever its name is.")
    extra_files = serializers.ListField(
        child=serializers.FileField(),
        max_length=MAX_EXTRA_FILES,
        required=False,
        help_text="Files that lie beside the graph under their own names, such as external weights.",
    )

    def validate_extra_files(self, files: list[UploadedFile[bytes]]) -> list[UploadedFile[bytes]]:
        names = [str(file.name) for file in files]
        if MODEL_FILE in names or len(set(names)) < len(names):
            raise serializers.ValidationError(f"Each needs a name of its own, and none the name {MODEL_FILE}.")
        return files


class NewImportSerializer(VersionNotesSerializer):
    """A version whose files are there already; give either `uploads` or `path`."""

    uploads = serializers.DictField(
        child=serializers.UUIDField(),
        required=False,
        allow_empty=False,
        help_text=f"Path in the version -> complete upload; one of them is `{MODEL_FILE}`.",
    )
    path = serializers.CharField(
        max_length=1000,
        required=False,
        help_text="A file or folder on the server, inside one of the folders that its operator allows.",
    )

    def validate_uploads(self, uploads: dict[str, UUID]) -> dict[str, UUID]:
        if len(uploads) > MAX_UPLOADS:
            raise serializers.ValidationError(f"Give at most {MAX_UPLOADS}.")
        return uploads

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("uploads" in attrs) == ("path" in attrs):
            raise serializers.ValidationError("Give either uploads or path.")
        return attrs


class DeprecationSerializer(serializers.Serializer[Any]):
    """Whether a version should still be used."""

    deprecated = serializers.BooleanField(default=True)
    message = serializers.CharField(
        max_length=500, default="", allow_blank=True, help_text="What to use instead, and until when."
    )


class VersionQuerySerializer(serializers.Serializer[Any]):
    """Which versions to list."""

    state = serializers.ChoiceField(choices=VersionState.choices, required=False)


class VersionsView(ControlView):
    parser_classes = (UploadParser, JsonParser)

    @operation("versions_list", VersionSummarySerializer(many=True), query=VersionQuerySerializer, errors=(400, 404))
    def get(self, request: Request, slug: str) -> Response:
        """A model's versions, newest first."""
        query = self.read_query(VersionQuerySerializer)
        return self.page(list_version_summaries(slug, state=query.get("state", "")), VersionSummarySerializer)

    @operation(
        "versions_upload",
        VersionSerializer,
        status=HTTPStatus.CREATED,
        request={"multipart/form-data": NewVersionSerializer, "application/json": NewImportSerializer},
        also={HTTPStatus.ACCEPTED: ImportSerializer},
        errors=(400, 404, 409, 410, 415),
    )
    def post(self, request: Request, slug: str) -> Response:
        """Imports a version. Files that cannot be served are refused with findings that say why.

        A form holds the files, and is answered when they were inspected: good for small ones. JSON names uploads, or
        a path on the server, which a worker imports; the answer is 202, and `Location` tells how far it has come.
        """
        model = get_model(slug)
        if isinstance(request.data, QueryDict):
            return self._import_now(model)
        return self._import_later(model)

    def _import_now(self, model: RegisteredModel) -> Response:
        given = self.read_body(NewVersionSerializer)
        files = _by_path(given.pop("file"), given.pop("extra_files", []))
        draft = VersionDraft(files=files, golden_samples=given.pop("golden", []), **given)
        version = import_version(self.actor, model=model, draft=draft)
        return Response(VersionSerializer(get_version(model.slug, version.semver)).data, status=HTTPStatus.CREATED)

    def _import_later(self, model: RegisteredModel) -> Response:
        given = self.read_body(NewImportSerializer)
        new = NewImport(server_path=given.pop("path", ""), golden_samples=given.pop("golden", []), **given)
        job = request_import(self.actor, model=model, new=new)
        headers = {"Location": f"/api/imports/{job.pk}"}
        return Response(ImportSerializer(job).data, status=HTTPStatus.ACCEPTED, headers=headers)


def _by_path(graph: UploadedFile[bytes], extra: Iterable[UploadedFile[bytes]]) -> Mapping[str, BinaryIO]:
    return {MODEL_FILE: cast(BinaryIO, graph)} | {str(file.name): cast(BinaryIO, file) for file in extra}


class VersionApproveView(ControlView):
    @operation("versions_approve", VersionSerializer, errors=(404, 409))
    def post(self, request: Request, slug: str, version: str) -> Response:
        """Says that a version may be published, by somebody other than its author."""
        approve_version(self.actor, version=get_version(slug, version))
        return Response(VersionSerializer(get_version(slug, version)).data)


class VersionDeprecateView(ControlView):
    @operation("versions_deprecate", VersionSerializer, request=DeprecationSerializer, errors=(400, 404))
    def post(self, request: Request, slug: str, version: str) -> Response:
        """Tells people not to use a version any more, or takes that back. It goes on being served."""
        set_deprecation(self.actor, version=get_version(slug, version), **self.read_body(DeprecationSerializer))
        return Response(VersionSerializer(get_version(slug, version)).data)
