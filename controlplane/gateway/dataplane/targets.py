"""What a request's path asks for, after one percent-decoding and by whole segments."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

MAX_VERSION_DIGITS = 9
_CACHED_PATH_BYTES = 512


class Endpoint(Enum):
    """The endpoints over HTTP, Triton's and those of the simple API, as far as the gateway tells them apart."""

    LIVE = auto()
    READY = auto()
    SERVER_METADATA = auto()
    MODEL_METADATA = auto()
    MODEL_CONFIG = auto()
    MODEL_READY = auto()
    MODEL_STATISTICS = auto()
    ALL_STATISTICS = auto()
    INDEX = auto()
    INFER = auto()
    GENERATE = auto()
    GENERATE_STREAM = auto()
    PREDICT = auto()
    CARD = auto()
    CARDS = auto()
    FORBIDDEN = auto()
    UNKNOWN = auto()


class Target(NamedTuple):
    """An endpoint and what it is asked about.

    Attributes:
        model: the model as the client names it, with an alias if it gave one.
        version: digits, or None; in the simple API also ``v3`` and ``1.0.0``.
        what: for `FORBIDDEN`, what the client asked for, in words.
    """

    endpoint: Endpoint
    model: str = ""
    version: str | None = None
    what: str = ""


UNKNOWN = Target(Endpoint.UNKNOWN)

_FIXED = {
    "/v2": Target(Endpoint.SERVER_METADATA),
    "/v2/": Target(Endpoint.SERVER_METADATA),
    "/v2/health/live": Target(Endpoint.LIVE),
    "/v2/health/ready": Target(Endpoint.READY),
    "/v2/models/stats": Target(Endpoint.ALL_STATISTICS),
    "/v2/repository/index": Target(Endpoint.INDEX),
    "/v1/models": Target(Endpoint.CARDS),
    "/v1/models/": Target(Endpoint.CARDS),
}
_FORBIDDEN_PREFIXES = {
    "repository": "Repository control",
    "systemsharedmemory": "Shared memory",
    "cudasharedmemory": "Shared memory",
    "logging": "Log settings",
    "trace": "Trace settings",
}
_OF_A_MODEL = {
    (): Endpoint.MODEL_METADATA,
    ("config",): Endpoint.MODEL_CONFIG,
    ("ready",): Endpoint.MODEL_READY,
    ("stats",): Endpoint.MODEL_STATISTICS,
    ("infer",): Endpoint.INFER,
    ("generate",): Endpoint.GENERATE,
    ("generate_stream",): Endpoint.GENERATE_STREAM,
}
_OF_A_CARD = {(): Endpoint.CARD, ("predict",): Endpoint.PREDICT}
SIMPLE_API = b"/v1/"
"""How the paths of the simple API begin; its errors have a form of their own."""


def parse_target(url: bytes) -> Target:
    """The target of a request line's URL; a query is no part of it."""
    return _cached(url) if len(url) <= _CACHED_PATH_BYTES else _parse(url)


def _parse(url: bytes) -> Target:
    path = url.partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return UNKNOWN
    if (fixed := _FIXED.get(text)) is not None:
        return fixed
    segments = text.split("/")
    if len(segments) < 3 or segments[0]:
        return UNKNOWN
    if segments[1] == "v1":
        return _of_a_card(segments[3], segments[4:]) if segments[2] == "models" and len(segments) > 3 else UNKNOWN
    if segments[1] != "v2":
        return UNKNOWN
    if segments[2] in _FORBIDDEN_PREFIXES:
        return Target(Endpoint.FORBIDDEN, what=_FORBIDDEN_PREFIXES[segments[2]])
    if segments[2] != "models" or len(segments) < 4 or not segments[3]:
        return UNKNOWN
    return _of_a_model(segments[3], segments[4:])


_cached = lru_cache(maxsize=4096)(_parse)


def _of_a_model(model: str, rest: list[str]) -> Target:
    version = None
    if rest[:1] == ["versions"]:
        if len(rest) < 2 or not is_version(rest[1]):
            return UNKNOWN
        version, rest = rest[1], rest[2:]
    endpoint = _OF_A_MODEL.get(tuple(rest))
    if endpoint is not None:
        return Target(endpoint, model, version)
    if rest == ["trace", "setting"]:
        return Target(Endpoint.FORBIDDEN, model, version, "Trace settings")
    return UNKNOWN


def _of_a_card(model: str, rest: list[str]) -> Target:
    version = None
    if rest[:1] == ["versions"] and len(rest) > 1:
        version, rest = rest[1], rest[2:]
    endpoint = _OF_A_CARD.get(tuple(rest))
    return Target(endpoint, model, version) if endpoint is not None and model else UNKNOWN


def is_version(text: str) -> bool:
    """Whether a text is a version number as paths and messages write it."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_VERSION_DIGITS
