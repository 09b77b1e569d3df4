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


class PublicationKind(models.TextChoices):
    """What a publication does with its version in its pool."""

    PUBLISH = "publish", "Publish"
    RETIRE = "retire", "Retire"
    RESTORE = "restore", "Restore"


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
    POSTPONED = "postponed", "Postponed"


class PublicationStep(models.TextChoices):
    """The steps of publications. Each may be run again after a crash and ends in the same place."""

    STAGE = "stage", "Stage files beside the repository"
    VERIFY = "verify", "Verify the staged files"
    COMMIT = "commit", "Move the version into the repository"
    LOAD = "load", "Load it on each server"
    READY = "ready", "See it ready on each server"
    GOLDEN = "golden", "Prove it by golden requests"
    ROUTE = "route", "Open it to requests"
    WITHDRAW = "withdraw", "Withdraw it from the routes"
    DRAIN = "drain", "Wait until gateways and requests have left it"
    UNLOAD = "unload", "Unload it on each server"
    ARCHIVE = "archive", "Move it into the attic"
    RETURN = "return", "Bring it back from the attic"


_PROVE = (PublicationStep.LOAD, PublicationStep.READY, PublicationStep.GOLDEN, PublicationStep.ROUTE)

PLANS: dict[PublicationKind, tuple[PublicationStep, ...]] = {
    PublicationKind.PUBLISH: (PublicationStep.STAGE, PublicationStep.VERIFY, PublicationStep.COMMIT, *_PROVE),
    PublicationKind.RETIRE: (
        PublicationStep.WITHDRAW,
        PublicationStep.DRAIN,
        PublicationStep.UNLOAD,
        PublicationStep.ARCHIVE,
    ),
    PublicationKind.RESTORE: (PublicationStep.RETURN, *_PROVE),
}
"""The steps of each kind, in order."""

UNDO_WINDOW_S = 7 * 24 * 3600
"""How long a retired version lies in the attic, unless its pool says otherwise."""

HEARTBEAT_TIMEOUT_S = 15.0
"""A running publication whose worker was silent for this long is handed to another."""
