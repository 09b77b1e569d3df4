from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from controlplane.gateway.journal.sums import DURATION_BOUNDS_US, UsageSums, digest_records
from controlplane.wire.usage import UsageRecord, pack_record
from tests.controlplane.gateway.journal.records import HOUR_US, usage_record


def test_records_of_one_hour_key_and_outcome_become_one_row() -> None:
    usage = UsageSums()
    usage.absorb(digest_records(usage_record(duration_us=100) + usage_record(duration_us=200)))
    usage.absorb(digest_records(usage_record(duration_us=300)))
    (row,) = usage.rows()
    assert (row.hour, row.key, row.requests, row.rows) == (500_000 * 3600, 1, 3, 3)
    assert (row.duration_us, row.bytes_in, row.bytes_out) == (600, 300, 150)


def test_causes_keys_and_models_are_kept_apart_and_statuses_are_not() -> None:
    usage = UsageSums()
    usage.absorb(
        digest_records(
            usage_record()
            + usage_record(key=2)
            + usage_record(model=8)
            + usage_record(cause=2, status=400)
            + usage_record(status=302)
        )
    )
    assert sorted(row.requests for row in usage.rows()) == [1, 1, 1, 2]


_u32 = st.integers(0, 2**32 - 1)
_records = st.builds(
    UsageRecord,
    ended_at_us=st.integers(0, 10 * HOUR_US),
    key=st.integers(0, 2),
    model=st.integers(0, 2),
    version=st.integers(0, 2),
    rows=_u32,
    duration_us=_u32,
    upstream_us=_u32,
    bytes_in=st.integers(0, 2**64 - 1),
    bytes_out=st.integers(0, 2**64 - 1),
    status=st.integers(0, 599),
    arm=st.integers(0, 2),
    cause=st.integers(0, 4),
    protocol=st.integers(1, 4),
)


@given(st.lists(_records, max_size=50))
def test_nothing_is_lost_in_adding_up(records: list[UsageRecord]) -> None:
    digest = digest_records(b"".join(map(pack_record, records)))
    usage = UsageSums()
    usage.absorb(digest)
    rows = usage.rows()
    assert sum(row.requests for row in rows) == len(records) == sum(digest.timings.values())
    for field in ("rows", "duration_us", "upstream_us", "bytes_in", "bytes_out"):
        assert sum(getattr(row, field) for row in rows) == sum(getattr(record, field) for record in records)


def test_a_duration_read_from_a_bucket_is_at_most_5_percent_off() -> None:
    assert DURATION_BOUNDS_US[0] == 50
    assert DURATION_BOUNDS_US[-1] > 600_000_000
    for lower, upper in pairwise(DURATION_BOUNDS_US):
        assert (upper - lower) / 2 <= 0.05 * lower
