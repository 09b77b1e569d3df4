"""Reads of usage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, Sum

from controlplane.usage.models import HourlyUsage
from controlplane.wire.usage import Cause


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over a period. `failures` counts what the model did wrong, not what its callers did."""

    requests: int
    failures: int
    rows: int
    bytes_in: int
    bytes_out: int
    average_ms: float


def usage_totals(
    *, model_number: int | None = None, key_number: int | None = None, since: datetime | None = None
) -> UsageTotals:
    """Sums of a model, a key or everything, from a time on."""
    usage = HourlyUsage.objects.all()
    if model_number is not None:
        usage = usage.filter(model_number=model_number)
    if key_number is not None:
        usage = usage.filter(key_number=key_number)
    if since is not None:
        usage = usage.filter(hour__gte=since)
    sums = usage.aggregate(
        total_requests=Sum("requests", default=0),
        total_failures=Sum("requests", filter=Q(cause=Cause.MODEL), default=0),
        total_rows=Sum("rows", default=0),
        total_bytes_in=Sum("bytes_in", default=0),
        total_bytes_out=Sum("bytes_out", default=0),
        total_duration_us=Sum("duration_us", default=0),
    )
    requests = sums["total_requests"]
    return UsageTotals(
        requests=requests,
        failures=sums["total_failures"],
        rows=sums["total_rows"],
        bytes_in=sums["total_bytes_in"],
        bytes_out=sums["total_bytes_out"],
        average_ms=sums["total_duration_us"] / requests / 1000 if requests else 0.0,
    )
