"""Organisations, their projects, and the API keys that clients of the gateway hold."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Organisation(models.Model):
    """Whoever is given capacity: a customer, a department."""

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=200)
    suspended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Project(models.Model):
    """A use of an organisation's capacity, with keys of its own."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="projects")
    slug = models.SlugField(max_length=50)
    name = models.CharField(max_length=200)
    suspended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["organisation", "slug"]
        constraints = [models.UniqueConstraint(fields=["organisation", "slug"], name="project_once")]

    def __str__(self) -> str:
        return f"{self.organisation.slug}/{self.slug}"


class Plan(models.Model):
    """A tier: the limits of every key on it."""

    slug = models.SlugField(max_length=50, unique=True)
    title = models.CharField(max_length=100)
    description = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class ApiKey(models.Model):
    """A key for the gateway. Only its keyed hash is stored; its text was shown once, to whoever issued it."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="keys")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="keys")
    label = models.CharField(max_length=200)
    key_id = models.CharField(max_length=20, unique=True)
    environment = models.CharField(max_length=16)
    digest = models.BinaryField(max_length=32)
    owner = models.CharField(max_length=200, blank=True)
    scopes = models.JSONField(default=list)
    model_patterns = models.JSONField(
        default=list, help_text="Patterns of the model names it may use; * matches any run."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=300, blank=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the hour, from the usage roll-ups.")

    class Meta:
        ordering = ["-id"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.label} ({self.key_id})"

    @property
    def state(self) -> str:
        """``active``, ``expired`` or ``revoked``, as of now."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return "expired"
        return "active"
