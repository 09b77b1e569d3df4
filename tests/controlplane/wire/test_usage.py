"""Usage on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.wire.errors import InvalidError
from controlplane.wire.usage import (
    FORMAT,
    RECORD,
    UsageBatch,
    UsageRecord,
    UsageRow,
    decode_batch,
    encode_batch,
    pack_record,
    unpack_record,
)

_U64, _U32, _U16, _U8 = (st.integers(0, 2**bits - 1) for bits in (64, 32, 16, 8))


@given(st.builds(UsageRecord, _U64, _U64, _U32, _U32, _U32, _U32, _U32, _U64, _U64, _U16, _U8, _U8, _U8))
def test_a_record_reads_back_as_it_was_and_has_its_fixed_size(record: UsageRecord) -> None:
    packed = pack_record(record)
    assert len(packed) == RECORD.size == 64
    assert unpack_record(packed) == record


def row(requests: int) -> UsageRow:
    return UsageRow(3600, 1, 2, 3, 0, 0, 1, requests, requests, 10, 20, 30, 40)


def test_a_batch_reads_back_as_it_was() -> None:
    batch = UsageBatch(FORMAT, "gateway", "journal", 1, 0, 5, [row(5)])
    assert decode_batch(encode_batch(batch)) == batch


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (UsageBatch(FORMAT, "g", "j", 1, 0, 5, [row(4)]), "does not add up"),
        (UsageBatch(FORMAT, "g", "j", 1, 6, 5, []), "does not add up"),
        (UsageBatch(FORMAT + 1, "g", "j", 1, 0, 0, []), "not known here"),
    ],
)
def test_a_batch_that_contradicts_itself_is_refused(batch: UsageBatch, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        decode_batch(encode_batch(batch))


def test_a_body_that_is_no_batch_is_refused() -> None:
    with pytest.raises(InvalidError, match="cannot be read"):
        decode_batch(b'{"format": 1}')
