"""Pools of Tritons, what lies in their repositories, and how it got there."""

from __future__ import annotations

from django.db import models

from controlplane.fleet.domain import (
    OPEN_STATES,
    UNDO_WINDOW_S,
    Health,
    PlacementState,
    PublicationKind,
    PublicationState,
    PublicationStep,
    ServerState,
    StepState,
)
from controlplane.registry.models import ModelVersion


class Pool(models.Model):
    """Tritons that serve one model repository."""

    slug = models.SlugField(max_length=50, unique=True)
    title = models.CharField(max_length=200)
    repository = models.CharField(max_length=500, help_text="The repository as the workers see it.")
    server_repository = models.CharField(max_length=500, help_text="The repository as its Tritons see it.")
    gpu = models.BooleanField(default=False, help_text="Its Tritons run models on GPUs.")
    undo_window_s = models.PositiveIntegerField(
        default=UNDO_WINDOW_S, help_text="How long a retired version can be brought back from the attic."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Server(models.Model):
    """One Triton. Addresses are ``host:port``, as gateways and workers reach it."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="servers")
    name = models.SlugField(max_length=50, unique=True)
    http_address = models.CharField(max_length=200)
    grpc_address = models.CharField(max_length=200)
    metrics_address = models.CharField(max_length=200, blank=True)
    control_secret = models.CharField(
        max_length=50, blank=True, help_text="Name of the secret file with its control API's password."
    )
    state = models.CharField(max_length=20, choices=ServerState.choices, default=ServerState.ACTIVE)
    health = models.CharField(max_length=20, choices=Health.choices, default=Health.UNKNOWN)
    health_reason = models.CharField(max_length=500, blank=True)
    triton_version = models.CharField(max_length=50, blank=True)
    extensions = models.JSONField(default=list)
    seen_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Placement(models.Model):
    """One version on one server, as last seen."""

    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="placements")
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="placements")
    state = models.CharField(max_length=20, choices=PlacementState.choices, default=PlacementState.ABSENT)
    reason = models.TextField(blank=True)
    proven = models.BooleanField(default=False, help_text="A publication proved it here; only then is it routed to.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["version", "server"]
        constraints = [models.UniqueConstraint(fields=["server", "version"], name="placement_once")]

    def __str__(self) -> str:
        return f"{self.version} on {self.server}"


class Publication(models.Model):
    """The way of one version into one pool, or out of it.

    A retirement waits for the gateways, which only an app above this one knows: it says `withdrawn_at` here, and
    that app answers with `withdrawn_revision`, `held_by` and in the end `unrouted_at`.
    """

    kind = models.CharField(max_length=20, choices=PublicationKind.choices, default=PublicationKind.PUBLISH)

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="publications")
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="publications")
    state = models.CharField(max_length=20, choices=PublicationState.choices, default=PublicationState.QUEUED)
    error = models.TextField(blank=True)
    manifest = models.JSONField(
        default=dict, help_text="Digests of every file as staged, the rendered config included."
    )
    signature = models.JSONField(default=dict, help_text="The publisher's signature of the manifest.")
    findings = models.JSONField(default=list, help_text="What staff should know though it stops nothing.")
    attempt = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    handed_out_at = models.DateTimeField(null=True, blank=True, help_text="When workers were last told of it.")
    cancel_requested = models.BooleanField(default=False)
    withdrawn_at = models.DateTimeField(null=True, blank=True, help_text="When the version left the routes.")
    withdrawn_revision = models.BigIntegerField(
        null=True, blank=True, help_text="From this revision of the snapshot on, nothing routes to the version."
    )
    held_by = models.JSONField(default=list, help_text="Gateways that have not confirmed that revision.")
    unrouted_at = models.DateTimeField(null=True, blank=True, help_text="When no live gateway routed to it any more.")
    attic_until = models.DateTimeField(null=True, blank=True, help_text="When the attic forgets the retired files.")
    requested_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "pool"],
                condition=models.Q(state__in=[state.value for state in OPEN_STATES]),
                name="one_open_publication",
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} {'out of' if self.kind == PublicationKind.RETIRE else 'to'} {self.pool}"


class PublicationStepRun(models.Model):
    """One run of one step."""

    publication = models.ForeignKey(Publication, on_delete=models.CASCADE, related_name="steps")
    step = models.CharField(max_length=20, choices=PublicationStep.choices)
    attempt = models.PositiveIntegerField()
    state = models.CharField(max_length=20, choices=StepState.choices, default=StepState.RUNNING)
    detail = models.TextField(blank=True)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["publication", "step", "attempt"], name="step_once_per_attempt")]

    def __str__(self) -> str:
        return f"{self.step} ({self.state})"

    @property
    def duration_s(self) -> float | None:
        """How long the step took; None while it runs."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None
