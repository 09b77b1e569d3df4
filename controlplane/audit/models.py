"""What happened, and what the snapshot has yet to take in."""

from __future__ import annotations

from django.db import models


class AuditEvent(models.Model):
    """One write: who did what to which object, when, from where, and what it changed. Never edited, never deleted."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=200, db_index=True)
    action = models.CharField(max_length=100, db_index=True, help_text="app.verb_noun, the service that wrote.")
    object_type = models.CharField(max_length=50)
    object_id = models.CharField(max_length=100)
    object_label = models.CharField(max_length=250)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    address = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["object_type", "object_id"])]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_label}"


class PendingChange(models.Model):
    """An object whose entry in the snapshot is out of date.

    Written in the transaction of the change and deleted by the snapshot builder in the transaction that takes it in, so
    no change is missed whatever order transactions commit in (a cursor over ids would skip a late commit).
    """

    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=120)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
