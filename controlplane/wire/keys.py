"""API keys: their form, their checksum and the keyed hash that is all anybody stores of them.

A key reads ``tgk_<environment>_<id>_<secret>_<checksum>``. The prefix lets secret scanners find it, the checksum lets
anyone tell a mistyped key from a wrong one without asking a server, the id is public, and the secret has 256 bits of
randomness, so a fast keyed hash is enough (there is nothing to guess).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field

from controlplane.wire.errors import InvalidError

API_KEY = "tgk"
"""Prefix of an API key: a client of the gateway."""
CONTROL_TOKEN = "tct"  # noqa: S105 - a prefix
"""Prefix of a token for the control plane's REST API."""
GATEWAY_TOKEN = "tgt"  # noqa: S105 - a prefix
"""Prefix of the token a gateway presents to the control plane."""
ID_LENGTH = 12
SECRET_LENGTH = 43  # 62 ** 43 > 2 ** 256
CHECKSUM_LENGTH = 6  # 62 ** 6 > 2 ** 32
MAX_KEY_LENGTH = 128

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LOWER = "0123456789abcdefghijklmnopqrstuvwxyz"
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9]{0,15}")
_KEY = re.compile(
    rf"(?P<prefix>{API_KEY}|{CONTROL_TOKEN}|{GATEWAY_TOKEN})_(?P<environment>[a-z][a-z0-9]{{0,15}})_(?P<id>[0-9a-z]{{{ID_LENGTH}}})"
    rf"_(?P<secret>[0-9A-Za-z]{{{SECRET_LENGTH}}})_(?P<checksum>[0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key whose form and checksum are right; whether it is known is another question."""

    environment: str
    key_id: str
    text: str = field(repr=False)


def generate_key(environment: str, prefix: str = API_KEY) -> ParsedKey:
    """Makes a new key for an environment such as ``live``, ``test`` or ``local``.

    Raises:
        InvalidError: the environment is not 1 to 16 lower-case letters and digits, a letter first.
    """
    if not _ENVIRONMENT.fullmatch(environment):
        raise InvalidError(
            f"{environment!r} is no key environment: use 1 to 16 lower-case letters and digits, a letter first.",
            code="key.invalid_environment",
        )
    key_id = _random_text(_LOWER, ID_LENGTH)
    body = f"{prefix}_{environment}_{key_id}_{_random_text(_BASE62, SECRET_LENGTH)}"
    return ParsedKey(environment, key_id, f"{body}_{checksum(body)}")


def parse_key(text: str, prefix: str = API_KEY) -> ParsedKey | None:
    """Reads a key of one kind; None when its kind, form or checksum is wrong."""
    if len(text) > MAX_KEY_LENGTH:
        return None
    match = _KEY.fullmatch(text)
    if match is None or match["prefix"] != prefix:
        return None
    body, _, check = text.rpartition("_")
    if checksum(body) != check:
        return None
    return ParsedKey(match["environment"], match["id"], text)


def checksum(body: str) -> str:
    """CRC-32 of the key without its last part, as six base-62 digits."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def hash_key(text: str, pepper: bytes) -> bytes:
    """The keyed hash of a whole key: 32 bytes of BLAKE2b under the pepper.

    The pepper lives in a file on control-plane and gateway hosts, never in the database or the snapshot, so neither of
    those alone lets anyone test a guess.
    """
    return hashlib.blake2b(text.encode("ascii", "replace"), key=pepper[:64], digest_size=32).digest()


def same_hash(left: bytes, right: bytes) -> bool:
    """Compares two hashes in constant time."""
    return hmac.compare_digest(left, right)


def _random_text(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
