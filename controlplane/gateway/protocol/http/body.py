"""The body of an inference request: what must be read of it before it is sent on, and how it is framed then."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.held import HeldBytes
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.sequences import Sequence
from controlplane.gateway.dataplane.shield import CheckedEnvelope, EnterSequence
from controlplane.gateway.protocol.http.head import RequestHead

MIN_CHUNK_BYTES = 64 * 1024
"""Chunks sent to a server are no smaller: Triton 2.51 dies of a million one-byte chunks."""
MAX_CHUNKS = 65_536
"""Chunks a client may send in one body, as in Tritons after 2.51."""
INFLATED_AT_ONCE_BYTES = 4096
"""Compressed bodies up to this size are inflated where they are: they become at most a thousand times as large."""
UNCOUNTED_BYTES = 64 * 1024
"""Bodies up to this size are not worth to be counted as held."""
_INFLATE_STEP_BYTES = 4 * 1024 * 1024
_COPIES = 2
"""A body that is checked as a whole is there twice for a moment: as it came, and as it is sent on."""

Check = Callable[[bytes, Route, EnterSequence], CheckedEnvelope]
"""Reads a request's JSON; what may be sent on in its place."""

_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class InferBody:
    """Collects a body until its JSON is checked, then hands it on as it comes.

    Attributes:
        limit_bytes: the largest body accepted, on the wire and inflated; set once the model is known.
        chunks: what arrived and was not handed on.
        received_bytes: what arrived, as the client sent it.
        rows: first dimension of the first input, 1 where that is not known.
        id_chars: length of the id in the request's JSON.
        sequence: the sequence that the request belongs to, if any.
        json_bytes: length of the JSON part to announce upstream; None for a body that is JSON as a whole.
        length: the body's length upstream; None where it is not known and chunks are sent.
    """

    __slots__ = (
        "_head",
        "_held",
        "_held_bytes",
        "_inflated",
        "chunks",
        "complete",
        "id_chars",
        "json_bytes",
        "length",
        "limit_bytes",
        "received_bytes",
        "rows",
        "sequence",
    )

    def __init__(self, head: RequestHead) -> None:
        self._head = head
        self._held: HeldBytes | None = None
        self._held_bytes = 0
        self._inflated = not head.encoding
        self.limit_bytes = 0
        self.chunks: list[bytes] = []
        self.received_bytes = 0
        self.complete = False
        self.rows = 1
        self.id_chars = 0
        self.sequence: Sequence | None = None
        self.json_bytes = head.json_bytes
        self.length = head.length

    def expect(self, limit_bytes: int, held: HeldBytes) -> None:
        """Sets the limits, and refuses by the head alone.

        Raises:
            RefusedError: the body is announced to be too large, or is compressed in a way that is not read here.
        """
        self.limit_bytes = limit_bytes
        self._held = held
        if self._head.length is not None and self._head.length > self.limit_bytes:
            raise refusals.too_large(self.limit_bytes)
        if self._head.encoding and self._head.encoding not in _WINDOW_BITS:
            refusal = refusals.not_served("Unsupported compression type: this Content-Encoding")
            refusal.headers = (b"Accept-Encoding: gzip, deflate\r\n",)
            raise refusal

    def is_json(self) -> None:
        """Reads the body as JSON as a whole, whatever the head says of an inference's JSON part."""
        self._head.json_bytes = self.json_bytes = None

    def check_received(self, collecting: bool) -> None:
        """Holds what arrived so far against the model's maximum, and against what all requests may hold together.

        Raises:
            RefusedError: it is more.
        """
        if self.received_bytes > self.limit_bytes:
            raise refusals.too_large(self.limit_bytes)
        if collecting and self.received_bytes > UNCOUNTED_BYTES:
            self._hold(self.received_bytes * _COPIES)

    def let_go(self) -> None:
        """Gives back the room that the body took, and takes none any more."""
        if self._held_bytes:
            self._hold(0)
        self._held = None

    def ready(self) -> bool:
        """Whether enough arrived for `open`."""
        if self.complete:
            return True
        if self._head.encoding or self._head.json_bytes is None:
            return False
        if self._head.length is None and self.received_bytes < MIN_CHUNK_BYTES:
            return False
        return self.received_bytes >= self._head.json_bytes

    @property
    def inflates_long(self) -> bool:
        """Whether the body is compressed and so large that it is better inflated beside the event loop."""
        return not self._inflated and self.received_bytes > INFLATED_AT_ONCE_BYTES

    async def inflate_apart(self) -> None:
        """Inflates the body in a thread, piece by piece.

        Raises:
            RefusedError: it is not what its Content-Encoding says, too large inflated, or more than may be held.
        """
        pieces: list[bytes] = []
        steps = inflate(b"".join(self.chunks), self._head.encoding, self.limit_bytes)
        self.chunks = pieces
        while piece := await asyncio.to_thread(next, steps, b""):
            pieces.append(piece)
            self._hold((self.received_bytes + sum(map(len, pieces))) * _COPIES)
        self._inflated = True

    def open(self, check: Check, route: Route, enter_sequence: EnterSequence) -> None:
        """Checks the JSON part; from now on `chunks` is what goes upstream.

        Raises:
            RefusedError: the request may not be forwarded.
        """
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        if not self._inflated:
            data = b"".join(inflate(data, self._head.encoding, self.limit_bytes))
            self._hold(len(data) * _COPIES)
        json_bytes = len(data) if self._head.json_bytes is None else self._head.json_bytes
        if json_bytes > len(data):
            raise refusals.invalid(
                "Inference-Header-Content-Length is larger than the request body", "request.malformed"
            )
        before = len(data)
        if self._head.json_bytes != 0:
            envelope = check(data if json_bytes == before else data[:json_bytes], route, enter_sequence)
            self.rows = envelope.rows
            self.id_chars = envelope.id_chars
            self.sequence = envelope.sequence
            if self._head.json_bytes is not None:
                self.json_bytes = len(envelope.text)
            self.chunks = [envelope.text] if json_bytes == before else [envelope.text, data[json_bytes:]]
        else:
            self.chunks = [data] if data else []
        after = sum(map(len, self.chunks))
        if self.complete:
            self.length = after
        elif self.length is not None:
            self.length += after - before

    def framed(self) -> list[bytes]:
        """What can be sent now, in chunks of HTTP where the length is not known; nothing stays behind at the end."""
        chunks, self.chunks = self.chunks, []
        if self.length is not None:
            return chunks
        size = sum(map(len, chunks))
        if not self.complete and size < MIN_CHUNK_BYTES:
            self.chunks = chunks
            return []
        framed = [b"%x\r\n" % size, *chunks, b"\r\n"] if size else []
        if self.complete:
            framed.append(b"0\r\n\r\n")
        return framed

    def _hold(self, size: int) -> None:
        if self._held is not None and size != self._held_bytes:
            self._held.claim(size - self._held_bytes)
            self._held_bytes = size


def inflate(data: bytes, encoding: bytes, limit_bytes: int) -> Iterator[bytes]:
    """A compressed body in the clear, in pieces.

    Raises:
        RefusedError: it is not what its Content-Encoding says, or larger than allowed once inflated.
    """
    inflater: Any = zlib.decompressobj(_WINDOW_BITS[encoding])
    total = 0
    while not inflater.eof:
        piece = _inflate_step(inflater, data)
        data = inflater.unconsumed_tail
        total += len(piece)
        if total > limit_bytes:
            raise refusals.too_large(limit_bytes)
        if not piece and not inflater.eof:
            raise _bad_compression("The compressed request body is cut short or continues after its end")
        if piece:
            yield piece
    if inflater.unused_data:
        raise _bad_compression("The compressed request body is cut short or continues after its end")


def _inflate_step(inflater: Any, data: bytes) -> bytes:
    try:
        piece: bytes = inflater.decompress(data, _INFLATE_STEP_BYTES)
    except zlib.error:
        raise _bad_compression("The request body cannot be decompressed") from None
    return piece


def _bad_compression(message: str) -> RefusedError:
    return refusals.invalid(message, "request.bad_compression")
