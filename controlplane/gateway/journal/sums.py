"""Adds records up, each decoded a single time for both the usage batch and the metrics."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from controlplane.wire.usage import RECORD, UsageRow

HOUR_S = 3600
_HOUR_US = HOUR_S * 1_000_000


def _bounds_us() -> tuple[int, ...]:
    # Ten equal steps per doubling: a quantile read from the middle of a bucket is at most 5 % off.
    return tuple(50 * 2**doubling * (10 + step) // 10 for doubling in range(24) for step in range(10))


DURATION_BOUNDS_US = _bounds_us()
"""Upper bounds (inclusive) of the duration histogram, 50 us to 13 min; one more bucket lies above the last."""


class Group(NamedTuple):
    """What records that are added up have in common; `status_class` is the hundreds of the HTTP status."""

    hour: int
    key: int
    model: int
    version: int
    arm: int
    cause: int
    protocol: int
    status_class: int


class Timing(NamedTuple):
    """What records in one bar of a duration histogram have in common; `bucket` indexes `DURATION_BOUNDS_US`."""

    model: int
    version: int
    arm: int
    protocol: int
    bucket: int


class Sums:
    """The totals of some records."""

    __slots__ = ("bytes_in", "bytes_out", "duration_us", "requests", "rows", "upstream_us")

    def __init__(self) -> None:
        self.requests = self.rows = self.bytes_in = self.bytes_out = self.duration_us = self.upstream_us = 0

    def add(self, other: Sums) -> None:
        """Adds the totals of other records."""
        self.requests += other.requests
        self.rows += other.rows
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.duration_us += other.duration_us
        self.upstream_us += other.upstream_us


class Digest(NamedTuple):
    """A run of records, added up by group and by bar of the histogram."""

    groups: dict[Group, Sums]
    timings: dict[Timing, int]


def digest_records(packed: bytes) -> Digest:
    """Adds up records that lie one after the other."""
    groups: dict[tuple[int, ...], Sums] = {}
    timings: dict[tuple[int, ...], int] = {}
    for (
        ended_at_us,
        key,
        model,
        version,
        rows,
        duration_us,
        upstream_us,
        bytes_in,
        bytes_out,
        status,
        arm,
        cause,
        protocol,
    ) in RECORD.iter_unpack(packed):
        group = (ended_at_us // _HOUR_US, key, model, version, arm, cause, protocol, status // 100)
        sums = groups.get(group)
        if sums is None:
            sums = groups[group] = Sums()
        sums.requests += 1
        sums.rows += rows
        sums.bytes_in += bytes_in
        sums.bytes_out += bytes_out
        sums.duration_us += duration_us
        sums.upstream_us += upstream_us
        timing = (model, version, arm, protocol, bisect_left(DURATION_BOUNDS_US, duration_us))
        timings[timing] = timings.get(timing, 0) + 1
    # Plain tuples above: making a named one costs more than all the sums of a record.
    return Digest(
        {Group._make(group): sums for group, sums in groups.items()},
        {Timing._make(timing): count for timing, count in timings.items()},
    )


class UsageSums:
    """Usage on its way into one batch."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, ...], Sums] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def absorb(self, digest: Digest) -> None:
        """Adds a digest's usage."""
        for group, sums in digest.groups.items():
            usage = group[:-1]  # the control plane does not ask for the status
            mine = self._sums.get(usage)
            if mine is None:
                mine = self._sums[usage] = Sums()
            mine.add(sums)

    def rows(self) -> list[UsageRow]:
        """The rows of the batch."""
        return [
            UsageRow(
                hour=hour * HOUR_S,
                key=key,
                model=model,
                version=version,
                arm=arm,
                cause=cause,
                protocol=protocol,
                requests=sums.requests,
                rows=sums.rows,
                bytes_in=sums.bytes_in,
                bytes_out=sums.bytes_out,
                duration_us=sums.duration_us,
                upstream_us=sums.upstream_us,
            )
            for (hour, key, model, version, arm, cause, protocol), sums in self._sums.items()
        ]
