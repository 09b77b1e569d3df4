"""Models, their immutable versions, and the aliases that point to them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from controlplane.registry.domain import VersionState
from controlplane.wire.names import triton_name


class RegisteredModel(models.Model):
    """A model as clients know it: a name behind which versions come and go."""

    slug = models.CharField(max_length=100, unique=True)
    title = models.CharField(max_length=200)
    owner = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    documentation = models.TextField(blank=True)
    task = models.CharField(max_length=100, blank=True)
    framework = models.CharField(max_length=50, blank=True)
    tags = models.JSONField(default=list, blank=True)
    capabilities = models.JSONField(default=list, blank=True)
    input_schema = models.JSONField(default=dict, blank=True)
    output_schema = models.JSONField(default=dict, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    default_alias = models.CharField(max_length=50, default="production")
    timeout_s = models.FloatField(default=60.0, help_text="How long the gateway waits for the first byte of an answer.")
    max_body_bytes = models.BigIntegerField(default=64 * 1024 * 1024)
    requires_approval = models.BooleanField(
        default=False, help_text="Somebody other than its author must approve a version before it is published."
    )
    keep_versions = models.PositiveIntegerField(
        default=0, help_text="How many published versions stay per pool; older unused ones are retired. 0: all stay."
    )
    next_number = models.PositiveIntegerField(default=1)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["slug"]
        verbose_name = "model"

    def __str__(self) -> str:
        return self.slug


class Artifact(models.Model):
    """A file in the content-addressed store, known by its digest."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.sha256[:12]


class ModelVersion(models.Model):
    """One version of a model. Its files and configuration never change once it is validated."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="versions")
    semver = models.CharField(max_length=100)
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=20, choices=VersionState.choices, default=VersionState.DRAFT, db_index=True)
    failure = models.TextField(blank=True, help_text="Why the version failed.")
    findings = models.JSONField(default=list)
    backend = models.CharField(max_length=50, default="onnxruntime")
    config = models.TextField(blank=True, help_text="config.pbtxt as derived from the artifact, before pool settings.")
    max_batch_size = models.PositiveIntegerField(default=0, help_text="0: the model does not batch.")
    inspection = models.JSONField(default=dict, help_text="What inspecting the artifact found.")
    inputs = models.JSONField(default=list, help_text="Tensors as in V2 metadata: name, datatype, shape.")
    outputs = models.JSONField(default=list)
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the manifest.")
    size_bytes = models.BigIntegerField(default=0)
    memory_bytes = models.BigIntegerField(
        null=True, blank=True, help_text="What its author says it needs once loaded; empty: the size of its files."
    )
    carries_code = models.BooleanField(default=False, help_text="It brings code, so two people must approve it.")
    parts = models.ManyToManyField(
        "self",
        symmetrical=False,
        related_name="ensembles",
        blank=True,
        help_text="The versions an ensemble is made of; they stay published as long as it is.",
    )
    signature = models.JSONField(default=dict, help_text="The publisher's signature of the digest; empty: none yet.")
    metrics = models.JSONField(default=dict)
    dataset_notes = models.TextField(blank=True)
    source = models.CharField(max_length=500, blank=True)
    deprecated = models.BooleanField(default=False)
    deprecation_message = models.CharField(max_length=500, blank=True)
    created_by = models.CharField(max_length=200)
    created_by_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["model", "-number"]
        verbose_name = "version"
        constraints = [
            models.UniqueConstraint(fields=["model", "semver"], name="version_semver_once"),
            models.UniqueConstraint(fields=["model", "number"], name="version_number_once"),
        ]

    def __str__(self) -> str:
        return f"{self.model.slug}@{self.semver}"

    @property
    def triton_name(self) -> str:
        """The version's model name inside Triton."""
        return triton_name(self.model.slug, self.number)


class VersionApproval(models.Model):
    """One person's word that a version may be published."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="approvals")
    approved_by = models.CharField(max_length=200)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    approved_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["version", "user"], name="approval_once_per_person")]

    def __str__(self) -> str:
        return f"{self.version} by {self.approved_by}"


class VersionFile(models.Model):
    """One file of a version: a path inside the version's folder and the artifact that lies there."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=500)
    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="uses")

    class Meta:
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["version", "path"], name="version_path_once")]

    def __str__(self) -> str:
        return self.path


class GoldenSample(models.Model):
    """A request whose answer is known: the proof of a load, and what snippets show."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="golden_samples")
    name = models.CharField(max_length=100)
    inputs = models.JSONField()
    outputs = models.JSONField()
    absolute_tolerance = models.FloatField(default=1e-4)
    relative_tolerance = models.FloatField(default=1e-3)
    origin = models.CharField(max_length=20, default="given", help_text="given, or reference: made by ONNX Runtime.")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name


class Alias(models.Model):
    """A named pointer to a version of a model."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=50)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="aliases")
    revision = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "aliases"
        constraints = [models.UniqueConstraint(fields=["model", "name"], name="alias_once")]

    def __str__(self) -> str:
        return f"{self.model.slug}@{self.name}"


class AliasMove(models.Model):
    """One move of an alias; together they are its history."""

    alias = models.ForeignKey(Alias, on_delete=models.CASCADE, related_name="moves")
    from_version = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    to_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    moved_by = models.CharField(max_length=200)
    moved_by_user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    moved_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.alias} -> {self.to_version.semver}"
