"""Usage: the record a gateway keeps of each finished request, and the batch it sends of many.

The record is fixed in size so that a worker can append it to a mapped file without a system call; the batch is an
aggregate by key, model, version, arm, protocol and cause, with the span of the journal it covers, so that the receiver
can tell a repeated batch from a new one.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

import msgspec

from controlplane.wire.errors import InvalidError

FORMAT = 1


class Cause(IntEnum):
    """Whose doing an outcome was. Only `MODEL` counts against a version."""

    OK = 0
    MODEL = 1
    REQUEST = 2
    CLIENT = 3
    GATEWAY = 4


class Protocol(IntEnum):
    """The protocol a request came in by."""

    HTTP_V2 = 1
    GRPC_V2 = 2
    PREDICT = 3
    OPENAI = 4


class Arm(IntEnum):
    """Which part of a rollout a request took; `PINNED` asked for a version or alias of its own and is not analysed."""

    STABLE = 0
    PINNED = 1
    CANARY = 2


class UsageRecord(NamedTuple):
    """One finished request.

    Units: ``ended_at_us`` Unix time in microseconds, durations in microseconds, sizes in bytes on the wire.
    ``key`` and ``model`` are the numbers of the snapshot's entries, 0 where the request never got that far.
    ``rows`` is the batch dimension (1 where the model has none).
    """

    ended_at_us: int
    key: int
    model: int
    version: int
    rows: int
    duration_us: int
    upstream_us: int
    bytes_in: int
    bytes_out: int
    status: int
    arm: int
    cause: int
    protocol: int


RECORD = struct.Struct("<QQIIIIIQQHBBB7x")
"""The record's layout in a journal, little-endian, 64 bytes."""


def pack_record(record: UsageRecord) -> bytes:
    """The 64 bytes of a record."""
    return RECORD.pack(*record)


def unpack_record(data: bytes | memoryview, offset: int = 0) -> UsageRecord:
    """The record at an offset."""
    return UsageRecord._make(RECORD.unpack_from(data, offset))


class UsageRow(msgspec.Struct, frozen=True):
    """What one (hour, key, model, version, arm, cause, protocol) adds up to within a batch.

    Attributes:
        hour: Unix time of the hour's start, seconds.
        requests: finished requests.
        rows: sum of batch dimensions.
        duration_us: sum over the requests, as is `upstream_us`.
    """

    hour: int
    key: int
    model: int
    version: int
    arm: int
    cause: int
    protocol: int
    requests: int
    rows: int
    bytes_in: int
    bytes_out: int
    duration_us: int
    upstream_us: int


class UsageBatch(msgspec.Struct, frozen=True):
    """The records (first, end] of one journal, added up.

    Attributes:
        journal: identity of the journal, a UUID in hex.
        number: 1, 2, 3 ... within the journal; (journal, number) is counted once however often it arrives.
        first: index of the first record covered.
        end: index after the last record covered.
    """

    format: int
    gateway: str
    journal: str
    number: int
    first: int
    end: int
    rows: list[UsageRow]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UsageBatch)


def encode_batch(batch: UsageBatch) -> bytes:
    """A batch as JSON."""
    return _encoder.encode(batch)


def decode_batch(payload: bytes) -> UsageBatch:
    """Reads a batch.

    Raises:
        InvalidError: it is not a batch, or its numbers contradict each other.
    """
    try:
        batch = _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise InvalidError(f"A usage batch cannot be read: {error}.", code="usage.malformed") from error
    if batch.format != FORMAT:
        raise InvalidError(f"Usage batches of format {batch.format} are not known here.", code="usage.format")
    if not 0 <= batch.first <= batch.end or sum(row.requests for row in batch.rows) != batch.end - batch.first:
        raise InvalidError("A usage batch does not add up to the records it covers.", code="usage.inconsistent")
    return batch
