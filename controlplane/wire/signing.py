"""Ed25519 envelopes: how a gateway knows that its orders come from its control plane."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from controlplane.wire.errors import InvalidError

SIGNATURE_BYTES = 64


def generate_signing_key() -> tuple[bytes, bytes]:
    """A new key pair as (private PEM, public PEM)."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


class Signer:
    """Signs messages with one private key."""

    def __init__(self, private_pem: bytes) -> None:
        key = load_pem_private_key(private_pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidError("The snapshot signing key is not an Ed25519 private key.", code="signing.wrong_key")
        self._key = key

    def sign(self, payload: bytes) -> bytes:
        """The envelope: 64 bytes of signature, then the payload."""
        return self._key.sign(payload) + payload


class Verifier:
    """Opens envelopes that one private key signed."""

    def __init__(self, public_pem: bytes) -> None:
        key = load_pem_public_key(public_pem)
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidError("The snapshot verification key is not an Ed25519 public key.", code="signing.wrong_key")
        self._key = key

    def open(self, envelope: bytes) -> bytes:
        """The payload of an envelope.

        Raises:
            InvalidError: the envelope is shorter than a signature, or the signature is not this key's.
        """
        signature, payload = envelope[:SIGNATURE_BYTES], envelope[SIGNATURE_BYTES:]
        try:
            self._key.verify(signature, payload)
        except InvalidSignature:
            raise InvalidError("The signature of a snapshot is wrong.", code="snapshot.bad_signature") from None
        return payload
