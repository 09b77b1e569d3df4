"""Reads of the snapshot."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from django.db import transaction
from django.db.models import QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from controlplane.env import control_settings
from controlplane.snapshots.models import Gateway, SnapshotEntry, SnapshotHead
from controlplane.wire.signing import Signer
from controlplane.wire.snapshot import Entry, encode_snapshot

LOST_AFTER = timedelta(minutes=15)
SILENT_AFTER = timedelta(minutes=1)
"""A gateway polls at least every 20 seconds."""


@cache
def _signer() -> Signer:
    return Signer(control_settings().secrets.read("snapshot_key.pem"))


def head_row() -> SnapshotHead:
    """The one row of `SnapshotHead`, made on first use."""
    return SnapshotHead.objects.get_or_create(pk=1)[0]


def head_revision() -> int:
    """The snapshot's revision now."""
    return SnapshotHead.objects.values_list("revision", flat=True).filter(pk=1).first() or 0


@transaction.atomic
def signed_snapshot(*, since: int, instance: str) -> bytes:
    """Everything a gateway at revision `since` of `instance` is missing, signed; a base where those do not fit."""
    head = head_row()
    if instance != head.instance or since > head.revision:
        since = 0
    # Entries above the head, written while this reads, are included: they come again with the next changes, whereas
    # leaving them out would take away their older form.
    rows = SnapshotEntry.objects.filter(revision__gt=since).order_by("revision", "id")
    if since == 0:
        rows = rows.exclude(value=None)
    entries = [
        Entry(kind, name, revision, None if value is None else bytes(value))
        for kind, name, revision, value in rows.values_list("kind", "name", "revision", "value").iterator()
    ]
    return _signer().sign(encode_snapshot(head.instance, since, head.revision, entries))


def list_gateways() -> QuerySet[Gateway]:
    """All gateways that ever reported."""
    return Gateway.objects.select_related("token").order_by("name")


def is_lost(gateway: Gateway) -> bool:
    """Whether a gateway was silent for so long that nothing waits for it any more."""
    return timezone.now() - gateway.seen_at > LOST_AFTER


def gateway_state(gateway: Gateway) -> str:
    """``live``, ``silent`` (missed several of its polls) or ``lost``."""
    if is_lost(gateway):
        return "lost"
    return "silent" if timezone.now() - gateway.seen_at > SILENT_AFTER else "live"


def gateways_with_head() -> QuerySet[Gateway]:
    """All gateways, each with `head`, the snapshot's revision now."""
    head = SnapshotHead.objects.filter(pk=1).values("revision")
    return list_gateways().annotate(head=Coalesce(Subquery(head), 0))
