"""The body of an inference request: what must be read of it before it is sent on, and how it is framed then."""

from __future__ import annotations

import zlib

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.shield import check_envelope
from controlplane.gateway.protocol.http.head import RequestHead

MIN_CHUNK_BYTES = 64 * 1024
"""Chunks sent to a server are no smaller: Triton 2.51 dies of a million one-byte chunks."""
MAX_CHUNKS = 65_536
"""Chunks a client may send in one body, as in Tritons after 2.51."""

_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class InferBody:
    """Collects a body until its JSON is checked, then hands it on as it comes.

    Attributes:
        limit_bytes: the largest body accepted, on the wire and inflated; set once the model is known.
        chunks: what arrived and was not handed on.
        received_bytes: what arrived, as the client sent it.
        rows: first dimension of the first input, 1 where that is not known.
        id_chars: length of the id in the request's JSON.
        json_bytes: length of the JSON part to announce upstream; None for a body that is JSON as a whole.
        length: the body's length upstream; None where it is not known and chunks are sent.
    """

    __slots__ = (
        "_head",
        "chunks",
        "complete",
        "id_chars",
        "json_bytes",
        "length",
        "limit_bytes",
        "received_bytes",
        "rows",
    )

    def __init__(self, head: RequestHead) -> None:
        self._head = head
        self.limit_bytes = 0
        self.chunks: list[bytes] = []
        self.received_bytes = 0
        self.complete = False
        self.rows = 1
        self.id_chars = 0
        self.json_bytes = head.json_bytes
        self.length = head.length

    def check_announced(self) -> None:
        """Refuses by the head alone.

        Raises:
            RefusedError: the body is announced to be too large, or is compressed in a way that is not read here.
        """
        if self._head.length is not None and self._head.length > self.limit_bytes:
            raise refusals.too_large(self.limit_bytes)
        if self._head.encoding and self._head.encoding not in _WINDOW_BITS:
            refusal = refusals.not_served("Unsupported compression type: this Content-Encoding")
            refusal.headers = (b"Accept-Encoding: gzip, deflate\r\n",)
            raise refusal

    def check_received(self) -> None:
        """Holds what arrived so far against the model's maximum.

        Raises:
            RefusedError: it is more.
        """
        if self.received_bytes > self.limit_bytes:
            raise refusals.too_large(self.limit_bytes)

    def ready(self) -> bool:
        """Whether enough arrived for `open`."""
        if self.complete:
            return True
        if self._head.encoding or self._head.json_bytes is None:
            return False
        if self._head.length is None and self.received_bytes < MIN_CHUNK_BYTES:
            return False
        return self.received_bytes >= self._head.json_bytes

    def open(self) -> None:
        """Checks the JSON part; from now on `chunks` is what goes upstream.

        Raises:
            RefusedError: the request may not be forwarded.
        """
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        if self._head.encoding:
            data = inflate(data, self._head.encoding, self.limit_bytes)
        json_bytes = len(data) if self._head.json_bytes is None else self._head.json_bytes
        if json_bytes > len(data):
            raise refusals.invalid(
                "Inference-Header-Content-Length is larger than the request body", "request.malformed"
            )
        before = len(data)
        if self._head.json_bytes != 0:
            envelope = check_envelope(data if json_bytes == before else data[:json_bytes])
            self.rows = envelope.rows
            self.id_chars = envelope.id_chars
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


def inflate(data: bytes, encoding: bytes, limit_bytes: int) -> bytes:
    """A compressed body in the clear.

    Raises:
        RefusedError: it is not what its Content-Encoding says, or larger than allowed once inflated.
    """
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = inflater.decompress(data, limit_bytes + 1)
    except zlib.error:
        raise refusals.invalid("The request body cannot be decompressed", "request.bad_compression") from None
    if len(plain) > limit_bytes:
        raise refusals.too_large(limit_bytes)
    if not inflater.eof or inflater.unused_data:
        raise refusals.invalid(
            "The compressed request body is cut short or continues after its end", "request.bad_compression"
        )
    return plain
