"""What gateways say of versions that leave the routes.

The fleet lies below the snapshots and knows no gateway. So a retirement writes down that its version left the routes
(`Publication.withdrawn_at`), and the app that knows the gateways answers here; nothing below calls upwards.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from controlplane.audit.services import enqueue_after_commit
from controlplane.fleet.domain import PublicationState
from controlplane.fleet.models import Publication
from controlplane.fleet.services.publications import RUN_TASK


@transaction.atomic
def note_withdrawal(*, publication: Publication, revision: int, held_by: list[str]) -> bool:
    """Takes in from which revision of the snapshot on a version is not routed to, and which gateways lag behind.

    With none behind, a retirement that was postponed for them goes on at once. Returns whether anything changed.
    """
    unrouted_at = None if held_by else timezone.now()
    known = (publication.withdrawn_revision, publication.held_by)
    if known == (revision, held_by) and unrouted_at is None:
        return False
    rows = Publication.objects.filter(pk=publication.pk, withdrawn_at=publication.withdrawn_at, unrouted_at=None)
    if not rows.update(withdrawn_revision=revision, held_by=held_by, unrouted_at=unrouted_at):
        return False
    if unrouted_at and Publication.objects.filter(pk=publication.pk, state=PublicationState.QUEUED).exists():
        enqueue_after_commit(RUN_TASK, publication.pk)
    return True
