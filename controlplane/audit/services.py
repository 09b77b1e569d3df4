"""Recording writes, and telling the rest of the system about them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.db import models, transaction
from kombu.exceptions import OperationalError

from controlplane.audit.domain import Actor
from controlplane.audit.models import AuditEvent, PendingChange
from controlplane.celery import app as celery

logger = logging.getLogger(__name__)


def record(
    actor: Actor,
    *,
    action: str,
    target: models.Model,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEvent:
    """Writes one audit event in the current transaction.

    Args:
        actor: who did it.
        action: ``app.verb_noun``.
        target: what it was done to.
        before: the values that changed, as they were; no secrets.
        after: the same values as they are now; no secrets.
    """
    return AuditEvent.objects.create(
        actor=actor.name,
        action=action,
        object_type=target._meta.label_lower,
        object_id=str(target.pk),
        object_label=str(target)[:250],
        before=before or {},
        after=after or {},
        address=actor.address,
    )


def touch(kind: str, names: Iterable[str]) -> None:
    """Marks entries of the snapshot (`wire.snapshot.Entry`) as out of date, in the current transaction."""
    PendingChange.objects.bulk_create([PendingChange(kind=kind, name=name) for name in names])


def enqueue_after_commit(task: str, *arguments: int | str) -> None:
    """Hands a task to the workers once the current transaction is durable.

    A broker that is away loses nothing: the database says what is to be done, and the controller hands out again what
    nobody took up.
    """

    def send() -> None:
        try:
            celery.send_task(task, args=list(arguments))
        except (OperationalError, OSError) as error:
            logger.warning("the broker did not take %s; the controller will hand it out again: %s", task, error)

    transaction.on_commit(send)
