"""The same batch from several senders at the same time."""

from __future__ import annotations

import pytest

from controlplane.usage.selectors import usage_totals
from controlplane.usage.services import ingest_batch
from controlplane.wire.usage import FORMAT, UsageBatch, UsageRow
from tests.support.concurrently import concurrently

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 1_800_000_000 // 3600 * 3600


def batch(journal: str) -> UsageBatch:
    row = UsageRow(HOUR, 1, 2, 3, 0, 0, 1, 5, 5, 10, 20, 30, 40)
    return UsageBatch(FORMAT, "gateway", journal, 1, 0, 5, [row])


def test_a_batch_delivered_many_times_at_once_is_counted_once() -> None:
    assert sum(concurrently(lambda _: ingest_batch(batch("j")))) == 1
    assert usage_totals().requests == 5


def test_batches_of_many_gateways_for_the_same_hour_all_add_up() -> None:
    assert all(concurrently(lambda index: ingest_batch(batch(f"j{index}"))))
    assert usage_totals().requests == 8 * 5
