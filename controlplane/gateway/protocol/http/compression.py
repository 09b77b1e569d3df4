"""Compression of answers, done here and never by a Triton: the gateway must read what it passes on."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

MIN_BYTES = 1024
"""Answers below this size gain nothing."""
_LEVEL = 1
"""Tensors hardly get smaller at higher levels, which cost several times as much."""

_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


@lru_cache(maxsize=256)
def choose(accepted: bytes) -> bytes:
    """The encoding to answer with for an Accept-Encoding header; empty where none of ours is accepted.

    Source: RFC 9110, 12.5.3. Of two that a client likes alike, gzip.
    """
    weights = dict(_weight(item) for item in accepted.lower().split(b",") if item.strip())
    anything = weights.get(b"*", 0.0)
    wished = {encoding: weights.get(encoding, anything) for encoding in _WINDOW_BITS}
    best = max(wished, key=lambda encoding: wished[encoding])
    return best if wished[best] > 0 else b""


def _weight(item: bytes) -> tuple[bytes, float]:
    name, _, parameters = item.partition(b";")
    _, found, value = parameters.partition(b"q=")
    try:
        return name.strip(), float(value) if found else 1.0
    except ValueError:
        return name.strip(), 0.0


def compressor(encoding: bytes) -> Any:
    """What compresses one answer, piece by piece."""
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])


def compress(body: bytes, encoding: bytes) -> bytes:
    """A whole answer, compressed."""
    one = compressor(encoding)
    return bytes(one.compress(body) + one.flush())


def headers(encoding: bytes) -> bytes:
    """The lines that say so."""
    return b"Content-Encoding: %b\r\nVary: Accept-Encoding\r\n" % encoding
