"""Who is asking: from the text of an API key to its entry in the orders."""

from __future__ import annotations

import re
import time
from functools import lru_cache

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.orders import Orders
from controlplane.wire.errors import ErrorKind
from controlplane.wire.keys import MAX_KEY_LENGTH, hash_key, parse_key, same_hash
from controlplane.wire.snapshot import KeyEntry

CACHED_CREDENTIALS = 8192

_BEARER = re.compile(r"\s*bearer\s+(\S+)\s*", re.IGNORECASE)
_NOBODY = bytes(32)
_CHALLENGE = (b"WWW-Authenticate: Bearer\r\n",)


def _refused(message: str, code: str) -> RefusedError:
    return RefusedError(message, kind=ErrorKind.UNAUTHENTICATED, code=code, headers=_CHALLENGE)


class Authenticator:
    """Recognises API keys by the orders as they are at the moment of the request.

    A credential that was right once is remembered together with the entry it was right for, so that the hash is not
    computed per request; it counts only as long as that very entry is in the orders, so a revoked or rotated key is
    refused from the moment the change is applied.
    """

    def __init__(self, orders: Orders, pepper: bytes) -> None:
        self._orders = orders
        self._pepper = pepper
        self._known: dict[bytes, tuple[str, KeyEntry]] = {}

    def authenticate(self, credential: bytes | None) -> KeyEntry:
        """The entry of the key in an `Authorization` or `X-API-Key` value.

        Raises:
            RefusedError: no key, a wrong or revoked one (which look alike), or an expired one.
        """
        if not credential:
            raise _refused(
                "An API key is required: send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'", "key.missing"
            )
        known = self._known.get(credential)
        if known is not None and self._orders.keys.get(known[0]) is known[1]:
            entry = known[1]
        else:
            entry = self._recognise(credential)
        if entry.expires_at_s is not None and time.time() >= entry.expires_at_s:
            raise _refused("The API key has expired", "key.expired")
        return entry

    def _recognise(self, credential: bytes) -> KeyEntry:
        """Hashes and compares in every case, so that a wrong key takes as long as a right one."""
        text = key_text(credential)
        parsed = parse_key(text)
        entry = self._orders.keys.get(parsed.key_id) if parsed else None
        digest = hash_key(text[:MAX_KEY_LENGTH], self._pepper)
        if not same_hash(digest, entry.digest if entry else _NOBODY) or entry is None or parsed is None:
            raise _refused("The API key is not valid", "key.invalid")
        if len(self._known) >= CACHED_CREDENTIALS:
            self._known.clear()
        self._known[credential] = (parsed.key_id, entry)
        return entry


def key_text(credential: bytes) -> str:
    """The key in a header's value: after ``Bearer``, or the value itself."""
    text = credential.decode("latin-1")
    match = _BEARER.fullmatch(text)
    return match[1] if match else text.strip()


def may_use(entry: KeyEntry, slug: str) -> bool:
    """Whether a key's allow-list has the model."""
    patterns = entry.models
    return "*" in patterns or _allowed(patterns, slug)


@lru_cache(maxsize=4096)
def _allowed(patterns: tuple[str, ...], slug: str) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), slug) for pattern in patterns)
