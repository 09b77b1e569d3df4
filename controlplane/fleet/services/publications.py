"""Asking for publications. What carries them out is `fleet.publishing`."""

from __future__ import annotations

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import enqueue_after_commit, record
from controlplane.fleet.domain import HEARTBEAT_TIMEOUT_S, OPEN_STATES, PublicationState
from controlplane.fleet.errors import NotPublishableError
from controlplane.fleet.models import Pool, Publication
from controlplane.registry.domain import PUBLISHABLE_STATES, VersionState
from controlplane.registry.models import ModelVersion

RUN_TASK = "fleet.run_publication"
HAND_OUT_AGAIN_S = 60.0
"""How long a publication that nobody took up waits until workers are told of it again."""


@transaction.atomic
def publish_version(actor: Actor, *, version: ModelVersion, pool: Pool) -> Publication:
    """Asks for a version to be published into a pool; workers carry it out step by step.

    Asking again while it is under way gives the publication that is under way.

    Raises:
        PermissionMissingError: the actor may not publish.
        NotPublishableError: the version is not ready for it, or the pool has no servers.
    """
    actor.require(Permission.PUBLISH)
    allowed = {*PUBLISHABLE_STATES, VersionState.PUBLISHED}
    if version.state not in allowed:
        reason = f": {version.failure}" if version.failure else ""
        raise NotPublishableError(f"Version {version} is {version.state} and cannot be published{reason}.")
    if not pool.servers.exists():
        raise NotPublishableError(f"Pool {pool.slug!r} has no servers; register one first.", code="pool.empty")
    under_way = Publication.objects.filter(version=version, pool=pool, state__in=OPEN_STATES).first()
    if under_way is not None:
        return under_way
    try:
        with transaction.atomic():
            publication = Publication.objects.create(
                version=version, pool=pool, requested_by=actor.name, handed_out_at=timezone.now()
            )
    except IntegrityError:  # somebody else asked in this moment
        return Publication.objects.get(version=version, pool=pool, state__in=OPEN_STATES)
    record(actor, action="fleet.publish_version", target=publication, after={"pool": pool.slug})
    enqueue_after_commit(RUN_TASK, publication.pk)
    return publication


@transaction.atomic
def retry_publication(actor: Actor, *, publication: Publication) -> Publication:
    """Runs a failed or cancelled publication again from its first step; done steps find their work done.

    Raises:
        PermissionMissingError: the actor may not publish.
        NotPublishableError: it did not fail, or another one of this version is under way.
    """
    actor.require(Permission.PUBLISH)
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
    waiting = open_ones.filter(state=PublicationState.QUEUED).update(state=PublicationState.CANCELLED)
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
    due = Publication.objects.filter(claimable()).filter(Q(handed_out_at=None) | Q(handed_out_at__lt=told_before))
    ids = list(due.values_list("pk", flat=True))
    Publication.objects.filter(pk__in=ids).update(handed_out_at=timezone.now())
    for publication_id in ids:
        enqueue_after_commit(RUN_TASK, publication_id)
    return len(ids)
