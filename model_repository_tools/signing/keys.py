"""Keys that sign: elliptic curves (P-256, P-384, P-521), with or without a certificate."""

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_pem_x509_certificates

from model_repository_tools.errors import InvalidKeyError

_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, as unencrypted PEM. Its text never appears in a representation or an error."""

    private_pem: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new P-256 key."""
        return cls(_to_pem(ec.generate_private_key(ec.SECP256R1())))

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None) -> "SigningKey":
        """Read a private key.

        Raises:
            InvalidKeyError: It is no key of a supported curve, or the password is wrong or missing.
        """
        try:
            key = serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InvalidKeyError("this is no private key in PEM form, or its password is wrong") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
            raise InvalidKeyError("the key must be of the curve P-256, P-384 or P-521")
        return cls(_to_pem(key))

    @property
    def public_pem(self) -> bytes:
        """The public half, which a trust store needs."""
        key = serialization.load_pem_private_key(self.private_pem, None)
        return key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def key_id(self) -> str:
        """See `key_id_of`."""
        return key_id_of(self.public_pem)


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A key with the certificate that vouches for it, and the certificates between that one and the root."""

    key: SigningKey
    certificate_pem: bytes
    chain_pem: bytes = b""

    def __post_init__(self) -> None:
        try:
            certificate = load_pem_x509_certificates(self.certificate_pem)[0]
            if self.chain_pem:
                load_pem_x509_certificates(self.chain_pem)
        except (ValueError, IndexError):
            raise InvalidKeyError("this is no certificate in PEM form") from None
        if certificate.public_key() != serialization.load_pem_public_key(self.key.public_pem):
            raise InvalidKeyError("the certificate is for another key")


def key_id_of(public_pem: bytes) -> str:
    """Return the name of a public key: the SHA-256 of its PEM form, in hex. Signatures carry it as a hint.

    Raises:
        InvalidKeyError: It is no public key of a supported curve.
    """
    try:
        key = serialization.load_pem_public_key(public_pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeyError("this is no public key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise InvalidKeyError("the key must be of the curve P-256, P-384 or P-521")
    canonical = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(canonical).hexdigest()


def _to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
