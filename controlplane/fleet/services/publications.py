"""Asking for publications. What carries them out is `fleet.publishing`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import enqueue_after_commit, record
from controlplane.fleet.domain import HEARTBEAT_TIMEOUT_S, OPEN_STATES, PublicationKind, PublicationState
from controlplane.fleet.errors import NotPublishableError
from controlplane.fleet.models import Pool, Publication
from controlplane.registry.domain import PUBLISHABLE_STATES, VersionState
from controlplane.registry.errors import ApprovalMissingError, VersionInUseError
from controlplane.registry.models import ModelVersion
from controlplane.registry.selectors import approvals_missing, uses_of

RUN_TASK = "fleet.run_publication"
HAND_OUT_AGAIN_S = 60.0
"""How long a publication that nobody took up waits until workers are told of it again."""


def publish_version(actor: Actor, *, version: ModelVersion, pool: Pool) -> Publication:
    """Asks for a version to be published into a pool; workers carry it out step by step.

    Asking again while it is under way gives the publication that is under way.

    Raises:
        PermissionMissingError: the actor may not publish.
        NotPublishableError: the version is not ready for it, or the pool has no servers.
        ApprovalMissingError: too few people approved the version.
    """
    actor.require(Permission.PUBLISH)
    if version.state not in {*PUBLISHABLE_STATES, VersionState.PUBLISHED, VersionState.RETIRED}:
        reason = f": {version.failure}" if version.failure else ""
        raise NotPublishableError(f"Version {version} is {version.state} and cannot be published{reason}.")
    if version.state in PUBLISHABLE_STATES and (missing := approvals_missing(version)):
        raise ApprovalMissingError(
            f"Version {version} needs {missing} more approval{'s' if missing > 1 else ''} by somebody other than its "
            "author before it is published.",
            details={"missing": missing},
        )
    _check_parts(version, pool)
    if not pool.servers.exists():
        raise NotPublishableError(f"Pool {pool.slug!r} has no servers; register one first.", code="pool.empty")
    return _ask_for(actor, PublicationKind.PUBLISH, version, pool)


def retire_version(actor: Actor, *, version: ModelVersion, pool: Pool) -> Publication:
    """Asks for a version to be taken out of a pool, without a request noticing; it can be restored for a while.

    Raises:
        PermissionMissingError: the actor may not publish.
        NotPublishableError: the version is not published into the pool.
        VersionInUseError: an alias or an ensemble needs it, and no other pool serves it.
    """
    actor.require(Permission.PUBLISH)
    proven = version.placements.filter(proven=True)
    if not proven.filter(server__pool=pool).exists():
        under_way = _under_way(version, pool)
        if under_way is not None and under_way.kind == PublicationKind.RETIRE:
            return under_way
        raise NotPublishableError(f"Version {version} is not published into pool {pool.slug!r}.")
    if not proven.exclude(server__pool=pool).exists() and (uses := uses_of(version)):
        raise VersionInUseError(
            f"Version {version} is needed by {', '.join(uses)}; change that before retiring it.", details={"uses": uses}
        )
    return _ask_for(actor, PublicationKind.RETIRE, version, pool)


def restore_version(actor: Actor, *, version: ModelVersion, pool: Pool) -> Publication:
    """Asks for a retired version to be brought back from a pool's attic, proven, and routed to again.

    Raises:
        PermissionMissingError: the actor may not publish.
        NotPublishableError: nothing of it was retired there; the message says what to do.
    """
    actor.require(Permission.PUBLISH)
    if version.placements.filter(proven=True, server__pool=pool).exists():
        raise NotPublishableError(
            f"Version {version} is published into pool {pool.slug!r}; there is nothing to restore."
        )
    _check_parts(version, pool)
    earlier = version.publications.filter(pool=pool)
    signed = earlier.exclude(signature={}).order_by("-id").first()
    if signed is None or not earlier.filter(kind=PublicationKind.RETIRE).exists():
        raise NotPublishableError(f"Version {version} was never retired from pool {pool.slug!r}; publish it.")
    return _ask_for(actor, PublicationKind.RESTORE, version, pool, manifest=signed.manifest, signature=signed.signature)


def _check_parts(version: ModelVersion, pool: Pool) -> None:
    """An ensemble loads only where its parts are."""
    served = ModelVersion.objects.filter(placements__proven=True, placements__server__pool=pool)
    missing = [str(part) for part in version.parts.exclude(pk__in=served).select_related("model")]
    if missing:
        raise NotPublishableError(
            f"Version {version} is made of {', '.join(missing)}: publish that into pool {pool.slug!r} first."
        )


def _under_way(version: ModelVersion, pool: Pool) -> Publication | None:
    return Publication.objects.filter(version=version, pool=pool, state__in=OPEN_STATES).first()


@transaction.atomic
def _ask_for(
    actor: Actor, kind: PublicationKind, version: ModelVersion, pool: Pool, **fields: dict[str, Any]
) -> Publication:
    try:
        with transaction.atomic():
            publication = Publication.objects.create(
                kind=kind, version=version, pool=pool, requested_by=actor.name, handed_out_at=timezone.now(), **fields
            )
    except IntegrityError:
        under_way = _under_way(version, pool)
        if under_way is None or under_way.kind == kind:  # None: it ended in this moment
            return under_way or _ask_for(actor, kind, version, pool, **fields)
        raise NotPublishableError(
            f"{PublicationKind(under_way.kind).label} of {under_way} is under way; wait for it or cancel it.",
            details={"publication_id": under_way.pk},
        ) from None
    record(actor, action=f"fleet.{kind}_version", target=publication, after={"pool": pool.slug})
    enqueue_after_commit(RUN_TASK, publication.pk)
    return publication


@transaction.atomic
def retry_publication(actor: Actor, *, publication: Publication) -> Publication:
    """Runs a failed or cancelled publication again from its first step; done steps find their work done.

    Raises:
        PermissionMissingError: the actor may not publish.
        NotPublishableError: it did not fail, or a later one of this version in this pool says otherwise.
    """
    actor.require(Permission.PUBLISH)
    later = Publication.objects.filter(version=publication.version_id, pool=publication.pool_id, pk__gt=publication.pk)
    if later.exists():
        raise NotPublishableError(f"Publication {publication.pk} was followed by another one; look at that.")
    ended = (PublicationState.FAILED, PublicationState.CANCELLED)
    try:
        with transaction.atomic():
            changed = Publication.objects.filter(pk=publication.pk, state__in=ended).update(
                state=PublicationState.QUEUED,
                error="",
                finished_at=None,
                cancel_requested=False,
                handed_out_at=timezone.now(),
            )
    except IntegrityError:
        raise NotPublishableError(f"Another publication of {publication.version} is under way.") from None
    if not changed:
        raise NotPublishableError(f"Publication {publication.pk} did not fail; there is nothing to retry.")
    record(actor, action="fleet.retry_publication", target=publication)
    enqueue_after_commit(RUN_TASK, publication.pk)
    publication.refresh_from_db()
    return publication


@transaction.atomic
def cancel_publication(actor: Actor, *, publication: Publication) -> Publication:
    """Asks a publication to stop before its next step; one that waits is cancelled at once.

    Raises:
        PermissionMissingError: the actor may not publish.
        NotPublishableError: it has ended.
    """
    actor.require(Permission.PUBLISH)
    open_ones = Publication.objects.filter(pk=publication.pk)
    waiting = open_ones.filter(state=PublicationState.QUEUED).update(
        state=PublicationState.CANCELLED, finished_at=timezone.now()
    )
    if not waiting and not open_ones.filter(state=PublicationState.RUNNING).update(cancel_requested=True):
        raise NotPublishableError(f"Publication {publication.pk} has ended; there is nothing to cancel.")
    record(actor, action="fleet.cancel_publication", target=publication)
    publication.refresh_from_db()
    return publication


def claimable() -> Q:
    """Which publications a worker may take: waiting ones, and running ones whose worker fell silent."""
    silent_since = timezone.now() - timedelta(seconds=HEARTBEAT_TIMEOUT_S)
    return Q(state=PublicationState.QUEUED) | Q(state=PublicationState.RUNNING, heartbeat_at__lt=silent_since)


@transaction.atomic
def hand_out_publications() -> int:
    """Tells the workers again of publications that nobody took up; returns how many. A taken one does no harm."""
    told_before = timezone.now() - timedelta(seconds=HAND_OUT_AGAIN_S)
    untold = Q(handed_out_at=None) | Q(handed_out_at__lt=told_before)
    # One whose worker fell silent waited long enough; but only once: nobody may be left to take it.
    untold |= Q(state=PublicationState.RUNNING, handed_out_at__lt=F("heartbeat_at"))
    due = Publication.objects.filter(claimable()).filter(untold)
    ids = list(due.values_list("pk", flat=True))
    Publication.objects.filter(pk__in=ids).update(handed_out_at=timezone.now())
    for publication_id in ids:
        enqueue_after_commit(RUN_TASK, publication_id)
    return len(ids)
