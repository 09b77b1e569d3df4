"""Models, their immutable versions, and the aliases that point to them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from controlplane.registry.artifacts import artifact_store
from controlplane.registry.domain import OPEN_IMPORT_STATES, ImportState, UploadState, VersionState
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


class Upload(models.Model):
    """A file that arrives piece by piece, by the tus protocol. Its id is what opens it, besides its owner's token."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads")
    filename = models.CharField(max_length=255, blank=True, help_text="As its sender calls it.")
    length = models.BigIntegerField(help_text="How many bytes its sender announced.")
    metadata = models.TextField(blank=True, help_text="Upload-Metadata as it came.")
    expected_sha256 = models.CharField(max_length=64, blank=True, help_text="What its sender says it will be.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="What it is, once it is complete.")
    state = models.CharField(max_length=20, choices=UploadState.choices, default=UploadState.RECEIVING)
    failure = models.TextField(blank=True, help_text="Why it failed.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["owner", "state"], name="upload_of_owner")]

    def __str__(self) -> str:
        return self.filename or str(self.pk)

    @property
    def offset(self) -> int:
        """How many bytes are safely on disk. The file itself says it: no crash can part the two."""
        if self.state in {UploadState.COMPLETE, UploadState.USED}:
            return self.length
        return artifact_store().incoming(str(self.pk)).durable_size()

    @property
    def has_expired(self) -> bool:
        """Whether its time is over, removed or not."""
        if self.state in {UploadState.RECEIVING, UploadState.COMPLETE}:
            return self.expires_at <= timezone.now()
        return self.state == UploadState.EXPIRED


class VersionImport(models.Model):
    """A version on its way into the registry, carried out by a worker."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="imports")
    semver = models.CharField(max_length=100)
    version = models.ForeignKey(ModelVersion, null=True, on_delete=models.SET_NULL, related_name="imports")
    files = models.JSONField(default=dict, help_text="Path -> SHA-256 and size of what is in the store already.")
    server_path = models.CharField(max_length=1000, blank=True, help_text="Where a worker finds the files instead.")
    golden_samples = models.JSONField(default=list)
    metrics = models.JSONField(default=dict)
    dataset_notes = models.TextField(blank=True)
    source = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=20, choices=ImportState.choices, default=ImportState.QUEUED)
    message = models.CharField(max_length=200, blank=True, help_text="What is being done.")
    bytes_done = models.BigIntegerField(default=0)
    bytes_total = models.BigIntegerField(default=0, help_text="0: not yet known.")
    error = models.TextField(blank=True, help_text="Why it failed.")
    error_code = models.CharField(max_length=100, blank=True)
    findings = models.JSONField(default=list)
    attempt = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    handed_out_at = models.DateTimeField(null=True, blank=True, help_text="When workers were last told of it.")
    cancel_requested = models.BooleanField(default=False)
    requested_by = models.CharField(max_length=200)
    requested_by_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "import"
        constraints = [
            models.UniqueConstraint(
                fields=["model", "semver"],
                condition=models.Q(state__in=sorted(state.value for state in OPEN_IMPORT_STATES)),
                name="one_open_import",
            )
        ]

    def __str__(self) -> str:
        return f"{self.model.slug}@{self.semver}"
