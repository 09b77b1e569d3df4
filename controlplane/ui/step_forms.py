"""What the steps on models and versions ask for."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from controlplane.audit.staff_forms import FileInput, StepForm
from controlplane.fleet.models import Pool
from controlplane.registry.domain import VersionState
from controlplane.registry.models import ModelVersion, RegisteredModel

_LARGEST_JSON = 5 * 1024 * 1024


class ModelForm(StepForm):
    """What people say about a model."""

    title = forms.CharField(max_length=200, help_text="Its name for people.")
    owner = forms.CharField(max_length=200, required=False, help_text="The team or person that answers for it.")
    description = forms.CharField(required=False, widget=forms.Textarea({"rows": 3}))
    task = forms.CharField(max_length=100, required=False, help_text="E.g. image-classification.")
    framework = forms.CharField(max_length=50, required=False, help_text="What it was trained with.")
    tags = forms.CharField(required=False, help_text="Separated by commas.")
    documentation = forms.CharField(required=False, widget=forms.Textarea({"rows": 8}))
    timeout_s = forms.FloatField(
        min_value=0.1,
        max_value=3600,
        initial=60,
        label="Timeout (s)",
        help_text="How long the gateway waits for the first byte of an answer.",
    )
    max_body_bytes = forms.IntegerField(
        min_value=1, initial=64 * 1024 * 1024, label="Largest request (bytes)", help_text="64 MiB is 67108864."
    )

    def clean_tags(self) -> list[str]:
        """The tags one by one."""
        return [tag for part in self.cleaned_data["tags"].split(",") if (tag := part.strip())]


class NewModelForm(ModelForm):
    """The same, with the name that never changes."""

    slug = forms.CharField(
        max_length=100, label="Name", help_text="As clients write it: lower-case letters, digits, '.', '_' and '-'."
    )
    field_order = ("slug",)


class AliasForm(StepForm):
    """Which alias goes to which version of a model."""

    name = forms.CharField(max_length=50, label="Alias")
    version = forms.ModelChoiceField(ModelVersion.objects.none(), help_text="Published versions only.")

    def __init__(self, *args: Any, model: RegisteredModel, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        published = model.versions.filter(state=VersionState.PUBLISHED).select_related("model")
        self.fields["version"].queryset = published  # type: ignore[attr-defined]


class JsonFileField(forms.FileField):
    """A file whose content is JSON of one type."""

    def __init__(self, kind: type, **kwargs: Any) -> None:
        self._kind = kind
        super().__init__(widget=FileInput(".json,application/json"), required=False, **kwargs)

    def clean(self, data: Any, initial: Any = None) -> Any:
        """The value in the file; an empty one where none was given."""
        file: UploadedFile[Any] | None = super().clean(data, initial)
        if not file:
            return self._kind()
        if (file.size or 0) > _LARGEST_JSON:
            raise forms.ValidationError("The file is too large: 5 MiB is the limit.")
        try:
            value = json.loads(file.read())
        except ValueError as error:
            raise forms.ValidationError("The file is not JSON.") from error
        if not isinstance(value, self._kind):
            raise forms.ValidationError(f"The file must hold a JSON {'array' if self._kind is list else 'object'}.")
        return value


class VersionForm(StepForm):
    """A new version and its files."""

    model = forms.ModelChoiceField(RegisteredModel.objects.order_by("slug"), to_field_name="slug")
    semver = forms.CharField(max_length=100, label="Version", help_text="Semantic: 1.2.3 or 1.2.3-rc.1.")
    file = forms.FileField(widget=FileInput(".onnx"), label="ONNX file")
    golden_samples = JsonFileField(
        list,
        help_text='Optional JSON: [{"inputs": [tensors], "outputs": [tensors]}], tensors as in the V2 protocol. '
        "Each publication must reproduce them.",
    )
    metrics = JsonFileField(dict, help_text='Optional JSON: what its author measured, e.g. {"accuracy": 0.97}.')
    dataset_notes = forms.CharField(required=False, widget=forms.Textarea({"rows": 3}))
    source = forms.CharField(max_length=500, required=False, help_text="Where it came from: a run, a commit, a person.")


class PublishForm(StepForm):
    """Where to publish."""

    pool = forms.ModelChoiceField(Pool.objects.order_by("slug"), empty_label=None)
