"""``/api/models``: what clients can ask for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.fields import StorableJSONField
from controlplane.accounts.rest.views import ControlView, operation, serialize_all
from controlplane.registry.models import RegisteredModel
from controlplane.registry.rest.versions import TensorSerializer, VersionSummarySerializer
from controlplane.registry.selectors import default_version, get_model, list_version_summaries, search_models
from controlplane.registry.services import ModelFields, create_model, update_model

MAX_TIMEOUT_S = 3600.0
MAX_BODY_BYTES = 2**40


class ModelSummarySerializer(serializers.Serializer[RegisteredModel]):
    """A model in a list."""

    model_id = serializers.CharField(source="slug", help_text="The name in URLs and requests; the same as `slug`.")
    slug = serializers.CharField()
    name = serializers.CharField(source="title", help_text="The name for people; the same as `title`.")
    title = serializers.CharField()
    owner = serializers.CharField()
    description = serializers.CharField()
    task = serializers.CharField()
    framework = serializers.CharField()
    capabilities = serializers.ListField(child=serializers.CharField())
    tags = serializers.ListField(child=serializers.CharField())
    aliases = serializers.SerializerMethodField(help_text="Alias -> the version it points to.")
    default_alias = serializers.CharField(help_text="Requests that name no version follow it.")
    default_version = serializers.SerializerMethodField(help_text="Where the default alias points to, if anywhere.")
    versions_count = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_aliases(self, model: RegisteredModel) -> dict[str, str]:
        return {alias.name: alias.version.semver for alias in model.aliases.all()}

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_default_version(self, model: RegisteredModel) -> str | None:
        version = default_version(model)
        return version.semver if version else None

    def get_versions_count(self, model: RegisteredModel) -> int:
        return cast(int, model.versions_count)  # type: ignore[attr-defined]  # annotated by `search_models`


class ModelSerializer(ModelSummarySerializer):
    """All about a model. Its tensors are those of its default version."""

    documentation = serializers.CharField()
    timeout_s = serializers.FloatField()
    max_body_bytes = serializers.IntegerField()
    input_schema = serializers.DictField()
    output_schema = serializers.DictField()
    parameters = serializers.DictField(help_text="Request parameters: name -> type, default, min, max, description.")
    requires_approval = serializers.BooleanField()
    keep_versions = serializers.IntegerField()
    versions = serializers.SerializerMethodField()
    inputs = serializers.SerializerMethodField()
    outputs = serializers.SerializerMethodField()

    def to_representation(self, instance: RegisteredModel) -> dict[str, Any]:
        """Reads the versions once for all fields that show them."""
        self._versions = list(list_version_summaries(instance.slug))
        return super().to_representation(instance)

    def get_versions_count(self, model: RegisteredModel) -> int:
        return len(self._versions)

    @extend_schema_field(VersionSummarySerializer(many=True))
    def get_versions(self, model: RegisteredModel) -> Any:
        return serialize_all(VersionSummarySerializer, self._versions)

    @extend_schema_field(TensorSerializer(many=True))
    def get_inputs(self, model: RegisteredModel) -> Any:
        version = default_version(model)
        return version.inputs if version else []

    @extend_schema_field(TensorSerializer(many=True))
    def get_outputs(self, model: RegisteredModel) -> Any:
        version = default_version(model)
        return version.outputs if version else []


class ModelFieldsSerializer(serializers.Serializer[Any]):
    """What can be said about a model; a field that is left out stays as it is."""

    title = serializers.CharField(max_length=200, required=False)
    owner = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    documentation = serializers.CharField(max_length=100_000, required=False, allow_blank=True)
    task = serializers.CharField(max_length=100, required=False, allow_blank=True)
    framework = serializers.CharField(max_length=50, required=False, allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField(max_length=50), max_length=50, required=False)
    capabilities = serializers.ListField(child=serializers.CharField(max_length=50), max_length=50, required=False)
    input_schema = StorableJSONField(required=False, help_text="A JSON schema of what a request brings.")
    output_schema = StorableJSONField(required=False, help_text="A JSON schema of what an answer brings.")
    parameters = StorableJSONField(
        required=False,
        help_text='Request parameters by name: `{"top_k": {"type": "integer", "default": 5, "min": 1, "max": 100}}`.',
    )
    default_alias = serializers.CharField(
        max_length=50, required=False, help_text="Requests that name no version follow it."
    )
    requires_approval = serializers.BooleanField(
        required=False, help_text="Somebody other than its author must approve a version before it is published."
    )
    keep_versions = serializers.IntegerField(
        min_value=0, max_value=10_000, required=False, help_text="How many published versions stay; 0: all."
    )
    timeout_s = serializers.FloatField(min_value=0.001, max_value=MAX_TIMEOUT_S, required=False)
    max_body_bytes = serializers.IntegerField(min_value=1, max_value=MAX_BODY_BYTES, required=False)

    def validate_input_schema(self, value: Any) -> Any:
        return _require_object(value)

    def validate_output_schema(self, value: Any) -> Any:
        return _require_object(value)

    def validate_parameters(self, value: Any) -> Any:
        return _require_object(value)


def _require_object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise serializers.ValidationError("Give an object.")
    return value


class NewModelSerializer(ModelFieldsSerializer):
    """A model to register."""

    slug = serializers.CharField(max_length=100, help_text="Lower-case letters, digits, `.`, `_` and `-`.")


class ModelQuerySerializer(serializers.Serializer[Any]):
    """Which models to list."""

    search = serializers.CharField(required=False, help_text="Text in the name, title or description.")
    task = serializers.CharField(required=False)
    framework = serializers.CharField(required=False)
    owner = serializers.CharField(required=False)


class ModelsView(ControlView):
    @operation("models_list", ModelSummarySerializer(many=True), query=ModelQuerySerializer, errors=(400,))
    def get(self, request: Request) -> Response:
        """The models, by name."""
        query = self.read_query(ModelQuerySerializer)
        text = query.pop("search", "")
        return self.page(search_models(text=text, **query), ModelSummarySerializer)

    @operation(
        "models_create", ModelSerializer, status=HTTPStatus.CREATED, request=NewModelSerializer, errors=(400, 409)
    )
    def post(self, request: Request) -> Response:
        """Registers a model, to which versions can then be uploaded."""
        given = self.read_body(NewModelSerializer)
        slug = given.pop("slug")
        create_model(self.actor, slug=slug, fields=ModelFields(**given))
        return Response(ModelSerializer(get_model(slug)).data, status=HTTPStatus.CREATED)


class ModelView(ControlView):
    @operation("models_retrieve", ModelSerializer, errors=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """All about a model, with its versions and the tensors of its default version."""
        return Response(ModelSerializer(get_model(slug)).data)

    @operation("models_update", ModelSerializer, request=ModelFieldsSerializer, errors=(400, 404, 409))
    def patch(self, request: Request, slug: str) -> Response:
        """Changes what is said about a model."""
        fields = ModelFields(**self.read_body(ModelFieldsSerializer))
        update_model(self.actor, model=get_model(slug), fields=fields)
        return Response(ModelSerializer(get_model(slug)).data)
