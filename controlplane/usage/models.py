"""What the gateways counted, in hourly roll-ups."""

from __future__ import annotations

from django.db import models


class UsageReceipt(models.Model):
    """The last batch taken in from one journal.

    A journal's batches come in order, each until it is acknowledged, so its highest number says all: whatever is not
    above it was counted already.
    """

    journal = models.CharField(max_length=32, primary_key=True)
    gateway = models.CharField(max_length=100)
    number = models.BigIntegerField(default=0)
    end = models.BigIntegerField(default=0, help_text="Records counted so far.")
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.gateway} {self.journal} {self.number}"


class HourlyUsage(models.Model):
    """Sums of one hour. Numbers, not foreign keys: usage outlives what it was of; 0 is a request that got nowhere."""

    hour = models.DateTimeField()
    key_number = models.BigIntegerField()
    model_number = models.BigIntegerField()
    version_number = models.PositiveIntegerField()
    arm = models.PositiveSmallIntegerField()
    cause = models.PositiveSmallIntegerField()
    protocol = models.PositiveSmallIntegerField()
    requests = models.BigIntegerField(default=0)
    rows = models.BigIntegerField(default=0)
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)
    duration_us = models.BigIntegerField(default=0, help_text="Sum over the requests, as is upstream_us.")
    upstream_us = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-hour"]
        verbose_name_plural = "hourly usage"
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "key_number", "model_number", "version_number", "arm", "cause", "protocol"],
                name="hourly_usage_once",
            )
        ]
        indexes = [models.Index(fields=["key_number", "hour"]), models.Index(fields=["model_number", "hour"])]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:00} {self.requests} requests"
