"""Records whose fields contradict each other unless all of them were written."""

from controlplane.wire.usage import UsageRecord, pack_record, unpack_record

HOUR_US = 3_600_000_000


def numbered_record(index: int) -> bytes:
    """A record made of one number throughout."""
    return pack_record(
        UsageRecord(
            ended_at_us=500_000 * HOUR_US + index,
            key=index,
            model=index,
            version=index,
            rows=index,
            duration_us=index,
            upstream_us=index,
            bytes_in=index,
            bytes_out=index,
            status=200,
            arm=0,
            cause=0,
            protocol=1,
        )
    )


def usage_record(*, key: int = 1, model: int = 7, duration_us: int = 900, status: int = 200, cause: int = 0) -> bytes:
    """An ordinary record."""
    return pack_record(UsageRecord(500_000 * HOUR_US, key, model, 2, 1, duration_us, 600, 100, 50, status, 0, cause, 1))


def is_whole(packed: bytes) -> bool:
    """Whether a numbered record carries its number everywhere."""
    number = unpack_record(packed).key
    return packed == numbered_record(number)
