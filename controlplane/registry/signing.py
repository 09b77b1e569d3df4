"""The publisher's signature: what a version is made of, and what is about to lie in a pool's repository.

A signature is over a statement in canonical JSON, so it says what it is about: a signature of one version, pool or kind
is worth nothing for another. The digests in it are those of `model_repository_tools.manifest`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from controlplane.env import SecretFiles, control_settings
from controlplane.registry.errors import SignatureInvalidError, SigningUnavailableError
from controlplane.wire.errors import InvalidError
from controlplane.wire.signing import SIGNATURE_BYTES, Signer, Verifier

PRIVATE_KEY = "publisher_key.pem"
PUBLIC_KEY = "publisher_public.pem"
FORMAT = 1
_ALGORITHM = "ed25519"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed.

    Attributes:
        kind: ``version``, or ``publication``: a version as it lies in one pool, its configuration included.
        name: the version's name in Triton.
        digest: of the manifest of its files.
        pool: where it is to lie; empty for a version.
    """

    kind: str
    name: str
    digest: str
    pool: str = ""

    def payload(self) -> bytes:
        """The bytes that are signed; the same statement gives the same bytes forever."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode()


class VersionSigner(Protocol):
    """Signs statements, and checks signatures. A signature is a flat JSON object that names its algorithm and key."""

    def sign(self, statement: Statement) -> dict[str, str]:
        """The signature of a statement.

        Raises:
            SigningUnavailableError: this process has no key to sign with.
        """
        ...

    def check(self, statement: Statement, signature: Mapping[str, str]) -> None:
        """Lets a statement pass that the trusted key signed.

        Raises:
            SignatureInvalidError: it did not; the message says which of the reasons it is.
        """
        ...


class Ed25519VersionSigner:
    """Signs with the publisher's Ed25519 key, a secret file; trusts the public key beside it."""

    def __init__(self, secrets: SecretFiles) -> None:
        self._secrets = secrets

    def sign(self, statement: Statement) -> dict[str, str]:
        """The signature of a statement, by the private key."""
        try:
            signer = Signer(self._secrets.read(PRIVATE_KEY))
        except FileNotFoundError:
            raise SigningUnavailableError(
                f"The secret {PRIVATE_KEY!r} is missing here: run `python -m controlplane.secret_files`."
            ) from None
        value = signer.sign(statement.payload())[:SIGNATURE_BYTES]
        return {
            "algorithm": _ALGORITHM,
            "key_id": key_id(self._public_pem()),
            "digest": statement.digest,
            "value": base64.b64encode(value).decode(),
        }

    def check(self, statement: Statement, signature: Mapping[str, str]) -> None:
        """Checks a signature with the public key."""
        if not signature:
            raise SignatureInvalidError(f"{statement.name} is not signed.")
        if signature.get("algorithm") != _ALGORITHM:
            raise SignatureInvalidError(f"{statement.name} is signed in a way that is not known here.")
        trusted = self._public_pem()
        if signature.get("key_id") != key_id(trusted):
            raise SignatureInvalidError(
                f"{statement.name} is signed by the key {signature.get('key_id')}; this control plane trusts "
                f"{key_id(trusted)}. Sign it anew, or put the right {PUBLIC_KEY} in place."
            )
        if signature.get("digest") != statement.digest:
            raise SignatureInvalidError(f"{statement.name} has other bytes than were signed.")
        try:
            envelope = base64.b64decode(signature.get("value", ""), validate=True) + statement.payload()
            Verifier(trusted).open(envelope)
        except (InvalidError, ValueError):
            raise SignatureInvalidError(f"The signature of {statement.name} is wrong.") from None

    def _public_pem(self) -> bytes:
        try:
            return self._secrets.read(PUBLIC_KEY)
        except FileNotFoundError:
            raise SigningUnavailableError(f"The secret {PUBLIC_KEY!r} is missing here.") from None


def key_id(public_pem: bytes) -> str:
    """A short name of a public key, for people and logs."""
    return hashlib.sha256(public_pem.strip()).hexdigest()[:16]


def version_signer() -> VersionSigner:
    """The signer this control plane is set up with."""
    return Ed25519VersionSigner(control_settings().secrets)
