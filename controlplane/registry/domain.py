"""States of a version and the rules between them."""

from __future__ import annotations

from django.db import models


class VersionState(models.TextChoices):
    """How far a version has come. Only a published one can be routed to."""

    DRAFT = "draft", "Draft"
    VALIDATED = "validated", "Validated"
    SIGNED = "signed", "Signed"
    APPROVED = "approved", "Approved"
    PUBLISHED = "published", "Published"
    RETIRED = "retired", "Retired"
    FAILED = "failed", "Failed"


# Approval narrows what may be published (`approvals_needed`); nothing widens these.
TRANSITIONS: dict[VersionState, frozenset[VersionState]] = {
    VersionState.DRAFT: frozenset({VersionState.VALIDATED, VersionState.FAILED}),
    VersionState.VALIDATED: frozenset({VersionState.SIGNED, VersionState.FAILED}),
    VersionState.SIGNED: frozenset({VersionState.APPROVED, VersionState.PUBLISHED, VersionState.FAILED}),
    VersionState.APPROVED: frozenset({VersionState.PUBLISHED, VersionState.FAILED}),
    VersionState.PUBLISHED: frozenset({VersionState.RETIRED}),
    VersionState.RETIRED: frozenset({VersionState.PUBLISHED}),
    VersionState.FAILED: frozenset({VersionState.VALIDATED}),
}

IMMUTABLE_STATES = frozenset(VersionState) - {VersionState.DRAFT, VersionState.FAILED}
"""In these a version's files and configuration never change again."""

PUBLISHABLE_STATES = frozenset({VersionState.VALIDATED, VersionState.SIGNED, VersionState.APPROVED})
"""In these a version may be published for the first time; the publication signs one that is not."""

APPROVABLE_STATES = frozenset({VersionState.VALIDATED, VersionState.SIGNED})

CODE_FINDINGS = "code."
"""Findings whose code begins so say that an artifact brings code that its server would run."""


def may_move(current: str, target: VersionState) -> bool:
    """Whether a version may go from one state to another."""
    return target in TRANSITIONS[VersionState(current)]


class UploadState(models.TextChoices):
    """How far an upload has come."""

    RECEIVING = "receiving", "Receiving"
    COMPLETE = "complete", "Complete"
    USED = "used", "Used"
    EXPIRED = "expired", "Expired"
    FAILED = "failed", "Failed"


class ImportState(models.TextChoices):
    """How far an import has come."""

    QUEUED = "queued", "Waiting for a worker"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


OPEN_IMPORT_STATES = frozenset({ImportState.QUEUED, ImportState.RUNNING})

IMPORT_HEARTBEAT_TIMEOUT_S = 15.0
"""After so long a silence the worker of an import is taken for dead, and another may take the import over."""


def approvals_needed(*, requires_approval: bool, carries_code: bool) -> int:
    """How many people other than its author must approve a version: two where it brings code."""
    return 2 if carries_code else int(requires_approval)
