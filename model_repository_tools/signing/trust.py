"""Who is trusted: keys, certificate authorities, and single digests, in a file that people can read and review."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.x509 import load_pem_x509_certificates

from model_repository_tools.errors import InvalidTrustError
from model_repository_tools.signing.keys import key_id_of

FORMAT = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and whose it is. A revoked key stays listed, so that its signatures are refused by name."""

    name: str
    public_pem: str
    is_revoked: bool = False

    @property
    def key_id(self) -> str:
        """See `key_id_of`."""
        return key_id_of(self.public_pem.encode())


@dataclass(frozen=True, slots=True)
class TrustStore:
    """What a verifier goes by. Values, not a live file: changing it gives a new one.

    Attributes:
        keys: By key id.
        authorities: PEM of root certificates; a signature by a certificate needs one of these above it.
        digests: Of manifests that are accepted without a signature, with a note on why.
        revoked_digests: Of manifests that are refused, however well signed, with a note on why.
    """

    keys: Mapping[str, TrustedKey] = field(default_factory=dict)
    authorities: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    revoked_digests: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_keys(cls, *keys: TrustedKey) -> "TrustStore":
        """Return a store that trusts these keys and nothing else.

        Raises:
            InvalidKeyError: One is no key.
        """
        return cls(keys={key.key_id: key for key in keys})

    @classmethod
    def of_authorities(cls, *certificates_pem: str) -> "TrustStore":
        """Return a store that trusts what these authorities vouch for, and nothing else.

        Raises:
            InvalidTrustError: One is no certificate.
        """
        return cls(authorities=_certificates(certificates_pem))

    def with_key(self, key: TrustedKey) -> "TrustStore":
        """Return the store with this key added, or put in place of the one with its id."""
        return replace(self, keys={**self.keys, key.key_id: key})

    def with_digest(self, digest: str, note: str, *, is_revoked: bool = False) -> "TrustStore":
        """Return the store with a manifest's digest accepted, or refused."""
        if is_revoked:
            return replace(self, revoked_digests={**self.revoked_digests, _digest(digest): note})
        return replace(self, digests={**self.digests, _digest(digest): note})

    def to_json(self) -> str:
        """Return the form that `from_json` reads."""
        value = {
            "format": FORMAT,
            "keys": [
                {"name": key.name, "public_key": key.public_pem, "is_revoked": key.is_revoked}
                for _, key in sorted(self.keys.items())
            ],
            "authorities": list(self.authorities),
            "digests": dict(sorted(self.digests.items())),
            "revoked_digests": dict(sorted(self.revoked_digests.items())),
        }
        return json.dumps(value, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrustStore":
        """Undo `to_json`.

        Raises:
            InvalidTrustError: Not a trust store, or of a format this release does not know.
            InvalidKeyError: A key in it is none.
        """
        try:
            value: Mapping[str, Any] = json.loads(text)
            if value["format"] != FORMAT:
                raise InvalidTrustError(f"trust store format {value['format']!r} is not known, only {FORMAT}")
            keys = [
                TrustedKey(str(key["name"]), str(key["public_key"]), bool(key.get("is_revoked", False)))
                for key in value["keys"]
            ]
            return cls(
                keys={key.key_id: key for key in keys},
                authorities=_certificates(map(str, value.get("authorities", ()))),
                digests=_digests(value.get("digests", {})),
                revoked_digests=_digests(value.get("revoked_digests", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InvalidTrustError("this is not a trust store") from error

    @classmethod
    def load(cls, path: Path) -> "TrustStore":
        """Read a store from a file.

        Raises:
            InvalidTrustError, InvalidKeyError: As `from_json`.
            OSError: It cannot be read.
        """
        return cls.from_json(path.read_text(encoding="utf-8"))

    def save(self, path: Path) -> None:
        """Write the store, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(self.to_json(), encoding="utf-8")
        partial.rename(path)


def _certificates(texts: Iterable[str]) -> tuple[str, ...]:
    texts = tuple(texts)
    for text in texts:
        try:
            load_pem_x509_certificates(text.encode())
        except ValueError as error:
            raise InvalidTrustError("an authority is no certificate in PEM form") from error
    return texts


def _digests(value: Mapping[str, Any]) -> dict[str, str]:
    return {_digest(str(digest)): str(note) for digest, note in value.items()}


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise InvalidTrustError("a digest is 64 small hexadecimal digits")
    return text
