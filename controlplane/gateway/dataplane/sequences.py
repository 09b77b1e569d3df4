"""Sequence ids: one space for all clients inside a Triton, so each organisation's are moved into a part of its own."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

_ID_BYTES = 16
_INT_BITS = 63  # what every reader of JSON and protobuf takes as an integer
MAX_INT_ID = 2**64 - 1


class Sequence(NamedTuple):
    """The sequence a request belongs to.

    Attributes:
        given: the id as the client knows it.
        inner: the id as Triton is told it.
    """

    given: int | str
    inner: int | str


class SequenceIds:
    """Replaces the ids of sequences by keyed hashes of organisation and id.

    An id of another organisation can then be neither met by chance nor guessed: that takes the pepper.

    Source: Triton 2.51 continues or resets a sequence for whoever sends its id.
    """

    def __init__(self, pepper: bytes) -> None:
        self._key = pepper[:64]

    def enter(self, organisation: str, given: int | str) -> Sequence:
        """The sequence that an id of an organisation stands for; a number stays a number and a text a text."""
        kind = "n" if isinstance(given, int) else "t"
        text = f"{kind}\0{organisation}\0{given}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, key=self._key, digest_size=_ID_BYTES, person=b"sequence").digest()
        if isinstance(given, str):
            return Sequence(given, digest.hex())
        # Triton takes 0 for "no sequence".
        return Sequence(given, (int.from_bytes(digest, "big") >> (_ID_BYTES * 8 - _INT_BITS)) or 1)


def rendezvous(server_id: int, inner: int | str) -> bytes:
    """How strongly a server attracts a sequence; every worker of every gateway comes to the same order.

    A server that comes or goes moves only the sequences that it wins or had.
    """
    return hashlib.blake2b(f"{server_id}\0{inner}".encode(), digest_size=8).digest()
