"""Taking in what the gateways counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from controlplane.access.models import ApiKey
from controlplane.usage.errors import UsageGapError
from controlplane.usage.models import HourlyUsage, UsageReceipt
from controlplane.wire.usage import UsageBatch, UsageRow

SUMS = ("requests", "rows", "bytes_in", "bytes_out", "duration_us", "upstream_us")


@transaction.atomic
def ingest_batch(batch: UsageBatch) -> bool:
    """Adds a batch to the hourly roll-ups, once however often it arrives.

    Returns:
        Whether the batch was new. Either way the sender may forget it.

    Raises:
        UsageGapError: a batch before this one never arrived; nothing was counted.
    """
    UsageReceipt.objects.get_or_create(journal=batch.journal, defaults={"gateway": batch.gateway})
    # Compare-and-set: of two senders of the same batch one finds the number already moved.
    moved = UsageReceipt.objects.filter(journal=batch.journal, number=batch.number - 1, end=batch.first).update(
        number=batch.number, end=batch.end, gateway=batch.gateway
    )
    if not moved:
        receipt = UsageReceipt.objects.get(journal=batch.journal)
        if batch.number <= receipt.number:
            return False
        raise UsageGapError(
            f"Batch {batch.number} of journal {batch.journal} covers records from {batch.first}; the last one counted "
            f"was batch {receipt.number} up to {receipt.end}."
        )
    for row in batch.rows:
        _add(row)
    _note_key_use(batch.rows)
    return True


def _add(row: UsageRow) -> None:
    identity: dict[str, Any] = {
        "hour": datetime.fromtimestamp(row.hour, tz=UTC),
        "key_number": row.key,
        "model_number": row.model,
        "version_number": row.version,
        "arm": row.arm,
        "cause": row.cause,
        "protocol": row.protocol,
    }
    rollup, _ = HourlyUsage.objects.get_or_create(**identity)
    HourlyUsage.objects.filter(pk=rollup.pk).update(**{name: F(name) + getattr(row, name) for name in SUMS})


def _note_key_use(rows: list[UsageRow]) -> None:
    latest: dict[int, int] = {}
    for row in rows:
        latest[row.key] = max(latest.get(row.key, 0), row.hour)
    now = datetime.now(tz=UTC)
    for key_number, hour in latest.items():
        # Records are known to the hour; its beginning could lie before the key was made.
        at = min(now, datetime.fromtimestamp(hour, tz=UTC) + timedelta(hours=1))
        ApiKey.objects.filter(pk=key_number).exclude(last_used_at__gte=at).update(last_used_at=at)
