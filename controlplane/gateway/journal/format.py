"""The layout of a journal file: a page of 64-bit words, then a ring of usage records.

Both sides map the file. Each word has one writer, and a word is stored by one machine instruction, so a process killed
at any point leaves a valid file. A record is written before the word that commits it; x86-64 keeps stores in order, in
front of a kill as well as in the eyes of the other process.

What this survives is the death of processes, because the mapping belongs to the kernel. Power loss may cost the
records that the kernel had not yet written back (about 30 s).
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

from controlplane.wire.errors import InvalidError
from controlplane.wire.usage import RECORD

SUFFIX = ".journal"
STAGING_SUFFIX = ".staging"

HEADER_BYTES = mmap.PAGESIZE
RECORD_BYTES = RECORD.size

MAGIC = int.from_bytes(b"TGWJRNL1", "little")
"""The format's number is its last digit; a machine of the other byte order does not recognise it either."""

# Written once, before the file gets its name.
WORD_MAGIC = 0
WORD_RECORD_BYTES = 1
WORD_CAPACITY = 2
WORD_ID = 3  # and 4

# The owner's, on a cache line of its own: records below this index are complete.
WORD_COMMITTED = 8

# The agent's, on the next one.
WORD_SHIPPED = 16
WORD_OBSERVED = 17
WORD_BATCH = 18
WORD_ACKNOWLEDGED = 19
WORD_SPANS = 20  # two of (first, end); batch n's is number n % 2

_HEADER_WORDS = HEADER_BYTES // 8


def journals_dir(state_dir: Path) -> Path:
    """Where a gateway's journals lie within its state folder."""
    return state_dir / "journals"


class Span(NamedTuple):
    """The records from `first` up to, not including, `end`."""

    first: int
    end: int


def header_words(mapping: mmap.mmap) -> memoryview:
    """The header as an array of native 64-bit words; assigning one is a single 8-byte store, which cannot tear."""
    return memoryview(mapping)[: _HEADER_WORDS * 8].cast("Q")


def file_bytes(capacity: int) -> int:
    """The size of a journal file of so many records."""
    return HEADER_BYTES + capacity * RECORD_BYTES


def check_header(words: memoryview, size: int) -> None:
    """Refuses a file that is not a journal of this format.

    Raises:
        InvalidError: it is not.
    """
    if (
        words[WORD_MAGIC] != MAGIC
        or words[WORD_RECORD_BYTES] != RECORD_BYTES
        or file_bytes(words[WORD_CAPACITY]) != size
    ):
        raise InvalidError("A file in the journal folder is no journal of this release.", code="journal.malformed")
