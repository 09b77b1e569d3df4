"""The snapshot as rows, the gateways that follow it, and the lease of the one controller that writes it."""

from __future__ import annotations

import uuid

from django.db import models

from controlplane.accounts.models import ApiToken


def _new_instance() -> str:
    return uuid.uuid4().hex


class SnapshotHead(models.Model):
    """The one row that says which revision the snapshot is at; `instance` tells one database from another."""

    instance = models.CharField(max_length=32, default=_new_instance)
    revision = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"revision {self.revision}"


class SnapshotEntry(models.Model):
    """One entry of `wire.snapshot`, as gateways get it. A tombstone has no value."""

    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=120)
    revision = models.BigIntegerField(db_index=True)
    value = models.BinaryField(null=True)

    class Meta:
        verbose_name_plural = "snapshot entries"
        constraints = [models.UniqueConstraint(fields=["kind", "name"], name="entry_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} at {self.revision}"


class Gateway(models.Model):
    """A gateway host, as it last reported."""

    name = models.CharField(max_length=100, unique=True)
    token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL, related_name="gateways")
    release = models.CharField(max_length=50, blank=True)
    revision = models.BigIntegerField(default=0, help_text="All its workers obey the snapshot up to here.")
    address = models.CharField(max_length=64, blank=True)
    first_seen_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class LeaderLease(models.Model):
    """Who may act as the controller. `epoch` grows with every change of hands; every write of a leader checks it."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.CharField(max_length=100, blank=True)
    epoch = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder} (epoch {self.epoch})"
