"""One leader at a time, however many controllers run.

Source of the scheme: a lease row with a fencing epoch, as Kubernetes' leader election and Kleppmann's "How to do
distributed locking" have it: holding the lease is a hint, the epoch in each write is the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from controlplane.snapshots.errors import LeaseLostError
from controlplane.snapshots.models import LeaderLease

CONTROLLER = "controller"
LEASE_S = 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease somebody holds."""

    holder: str
    epoch: int


def acquire(holder: str) -> Lease | None:
    """Takes or renews the controller's lease; None while somebody else has it."""
    now = timezone.now()
    until = now + timedelta(seconds=LEASE_S)
    LeaderLease.objects.get_or_create(name=CONTROLLER, defaults={"expires_at": now})
    rows = LeaderLease.objects.filter(name=CONTROLLER)
    if not rows.filter(holder=holder, expires_at__gt=now).update(expires_at=until):
        free = Q(expires_at__lte=now) | Q(holder="")
        if not rows.filter(free).update(holder=holder, epoch=F("epoch") + 1, expires_at=until):
            return None
    return Lease(holder, rows.values_list("epoch", flat=True).get())


def release(lease: Lease) -> None:
    """Gives the lease back, so that another controller need not wait for it to run out."""
    LeaderLease.objects.filter(name=CONTROLLER, holder=lease.holder, epoch=lease.epoch).update(
        holder="", expires_at=timezone.now()
    )


def assert_held(lease: Lease) -> None:
    """Proves inside a transaction that its writes are still the leader's; it locks the row until the commit.

    Raises:
        LeaseLostError: somebody else leads now; the transaction must not commit.
    """
    held = LeaderLease.objects.filter(name=CONTROLLER, holder=lease.holder, epoch=lease.epoch)
    if not held.update(epoch=lease.epoch):
        raise LeaseLostError("Another controller leads now.")
