"""States of publications, servers and placements, and the steps of a publication."""

from __future__ import annotations

from django.db import models


class ServerState(models.TextChoices):
    """What staff want of a server."""

    ACTIVE = "active", "Active"
    CORDONED = "cordoned", "Cordoned"


class Health(models.TextChoices):
    """What was last seen of a server."""

    UNKNOWN = "unknown", "Unknown"
    LIVE = "live", "Live"
    DOWN = "down", "Down"


class PlacementState(models.TextChoices):
    """What was last seen of one version on one server."""

    ABSENT = "absent", "Absent"
    LOADING = "loading", "Loading"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class PublicationState(models.TextChoices):
    """How far a publication has come."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


OPEN_STATES = (PublicationState.QUEUED, PublicationState.RUNNING)
"""In these a publication still has work to do; a version has one such publication per pool at most."""


class StepState(models.TextChoices):
    """How one step went."""

    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class PublicationStep(models.TextChoices):
    """The steps of a publication, in order. Each may be run again after a crash and ends in the same place."""

    STAGE = "stage", "Stage files beside the repository"
    VERIFY = "verify", "Verify the staged files"
    COMMIT = "commit", "Move the version into the repository"
    LOAD = "load", "Load it on each server"
    READY = "ready", "See it ready on each server"
    GOLDEN = "golden", "Prove it by golden requests"
    ROUTE = "route", "Open it to requests"


HEARTBEAT_TIMEOUT_S = 15.0
"""A running publication whose worker was silent for this long is handed to another."""
