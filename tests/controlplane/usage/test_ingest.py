"""Usage is counted once, whatever arrives how often and in what order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controlplane.access.models import ApiKey
from controlplane.access.services import ensure_defaults, issue_api_key
from controlplane.usage.errors import UsageGapError
from controlplane.usage.models import HourlyUsage, UsageReceipt
from controlplane.usage.selectors import usage_totals
from controlplane.usage.services import ingest_batch
from controlplane.wire.usage import FORMAT, Cause, UsageBatch, UsageRow
from tests.support.models import ACTOR

pytestmark = pytest.mark.django_db

HOUR = 1_800_000_000 // 3600 * 3600


def row(requests: int, *, cause: Cause = Cause.OK, key: int = 1, hour: int = HOUR) -> UsageRow:
    return UsageRow(hour, key, 2, 3, 0, cause, 1, requests, requests * 2, 100, 200, requests * 1000, 500)


def batch(number: int, first: int, *rows: UsageRow, journal: str = "j") -> UsageBatch:
    return UsageBatch(FORMAT, "gateway", journal, number, first, first + sum(one.requests for one in rows), list(rows))


def test_batches_add_up_by_hour_and_cause() -> None:
    assert ingest_batch(batch(1, 0, row(5), row(1, cause=Cause.MODEL)))
    assert ingest_batch(batch(2, 6, row(2)))
    totals = usage_totals(model_number=2)
    assert (totals.requests, totals.failures, totals.rows, totals.average_ms) == (8, 1, 16, 1.0)
    assert HourlyUsage.objects.count() == 2
    assert UsageReceipt.objects.get().end == 8


def test_a_repeated_batch_is_counted_once() -> None:
    first = batch(1, 0, row(5))
    assert [ingest_batch(first) for _ in range(3)] == [True, False, False]
    assert usage_totals().requests == 5


def test_a_batch_after_a_gap_is_refused_and_counts_nothing() -> None:
    ingest_batch(batch(1, 0, row(5)))
    with pytest.raises(UsageGapError):
        ingest_batch(batch(3, 9, row(1)))
    with pytest.raises(UsageGapError):
        ingest_batch(batch(2, 6, row(1)))
    assert usage_totals().requests == 5


def test_journals_are_independent() -> None:
    ingest_batch(batch(1, 0, row(5), journal="a"))
    ingest_batch(batch(1, 0, row(3), journal="b"))
    assert usage_totals().requests == 8


def test_a_keys_last_use_follows_the_roll_ups() -> None:
    project, plan = ensure_defaults(ACTOR)
    key = issue_api_key(ACTOR, project=project, plan=plan, label="ci").key
    ingest_batch(batch(1, 0, row(1, key=key.pk, hour=HOUR), row(1, key=key.pk, hour=HOUR - 3600)))
    last_used_at = ApiKey.objects.get().last_used_at
    assert last_used_at is not None
    assert key.created_at <= last_used_at <= datetime.now(tz=UTC)


def test_usage_of_nothing_is_zero() -> None:
    totals = usage_totals(key_number=99)
    assert (totals.requests, totals.average_ms) == (0, 0.0)
