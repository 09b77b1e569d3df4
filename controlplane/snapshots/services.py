"""Writing the snapshot, and noting what gateways report."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from controlplane.accounts.models import ApiToken
from controlplane.audit.models import PendingChange
from controlplane.fleet.models import Publication
from controlplane.fleet.selectors import waiting_withdrawals
from controlplane.fleet.services import note_withdrawal
from controlplane.snapshots.entries import build_entries
from controlplane.snapshots.leases import Lease, assert_held
from controlplane.snapshots.models import Gateway, SnapshotEntry, SnapshotHead
from controlplane.snapshots.selectors import LOST_AFTER, head_revision, head_row
from controlplane.wire.snapshot import encode_value

BATCH = 2000
"""Changes taken in by one transaction; SQLite limits the variables of one query."""


def build_snapshot(lease: Lease) -> int:
    """Takes in everything that changed; returns how many entries came out different.

    Raises:
        LeaseLostError: another controller leads; nothing was written.
    """
    changed = 0
    while True:
        taken, different = _take_in(lease)
        changed += different
        if taken < BATCH:
            return changed


@transaction.atomic
def _take_in(lease: Lease) -> tuple[int, int]:
    pending = list(PendingChange.objects.order_by("id").values_list("id", "kind", "name")[:BATCH])
    if not pending:
        return 0, 0
    assert_held(lease)
    head = head_row()
    touched: dict[str, set[str]] = {}
    for _, kind, name in pending:
        touched.setdefault(kind, set()).add(name)
    different = sum(_write_kind(kind, names, head.revision + 1) for kind, names in touched.items())
    PendingChange.objects.filter(id__in=[row[0] for row in pending]).delete()
    if different:
        SnapshotHead.objects.filter(pk=head.pk).update(revision=F("revision") + 1, changed_at=timezone.now())
    return len(pending), different


def _write_kind(kind: str, names: set[str], revision: int) -> int:
    """Writes the entries of one kind that differ from what is there; all of one transaction share a revision."""
    known = {entry.name: entry for entry in SnapshotEntry.objects.filter(kind=kind, name__in=names)}
    new, altered = [], []
    for name, value in build_entries(kind, names).items():
        encoded = encode_value(value) if value is not None else None
        entry = known.get(name)
        if entry is None and encoded is not None:
            new.append(SnapshotEntry(kind=kind, name=name, revision=revision, value=encoded))
        elif entry is not None and _bytes(entry.value) != encoded:
            entry.value, entry.revision = encoded, revision
            altered.append(entry)
    SnapshotEntry.objects.bulk_create(new)
    SnapshotEntry.objects.bulk_update(altered, ["value", "revision"])
    return len(new) + len(altered)


def _bytes(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)


def confirm_withdrawals() -> int:
    """Tells retirements from which revision on nothing routes to their version, and when every live gateway obeys it.

    A gateway that was silent for `LOST_AFTER` holds nothing up: it takes a fresh snapshot before it serves again.
    Returns how many retirements were told something new.
    """
    return sum(_confirm(publication) for publication in waiting_withdrawals())


def _confirm(publication: Publication) -> bool:
    revision = publication.withdrawn_revision
    if revision is None:
        # Its pending change was committed with the withdrawal; once it is gone, the snapshot has taken both in.
        if PendingChange.objects.filter(kind="model", name=publication.version.model.slug).exists():
            return False
        revision = head_revision()
    behind = Gateway.objects.filter(seen_at__gt=timezone.now() - LOST_AFTER, revision__lt=revision)
    held_by = [f"gateway {name}" for name in behind.order_by("name").values_list("name", flat=True)]
    return note_withdrawal(publication=publication, revision=revision, held_by=held_by)


def note_gateway(*, token: ApiToken, name: str, release: str, revision: int, address: str) -> None:
    """Remembers what a gateway said of itself with its last call."""
    seen = {
        "token": token,
        "release": release[:50],
        "revision": revision,
        "address": address,
        "seen_at": timezone.now(),
    }
    if not Gateway.objects.filter(name=name).update(**seen):
        Gateway.objects.get_or_create(name=name, defaults=seen)
