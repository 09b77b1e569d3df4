"""The one place that speaks to `model-signing`: envelopes in, envelopes out.

Its public interface signs and verifies folders only, hashes them itself, and tells what is wrong in one sentence. Here
the digests are known already (a content store has them), and each fault must be told apart. So this uses the classes
beneath, which is why the version is pinned to 1.1; the tests prove both ways that its command line agrees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature

from model_repository_tools.errors import SigningUnavailableError
from model_repository_tools.signing.keys import CertifiedKey, SigningKey
from model_repository_tools.signing.trust import TrustStore

_SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}


class MalformedSignatureError(Exception):
    """The text is no signature of this format."""


class WrongSignatureError(Exception):
    """The signature was not made by the key it names, over what it holds. `code` is that of the finding."""

    def __init__(self, message: str, code: str = "signature.invalid") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class SignedContent:
    """What a valid signature says: digest by path, and who says so."""

    digests: Mapping[str, str]
    signer: str


def sign_digests(digests: Mapping[str, str], name: str, key: SigningKey | CertifiedKey) -> bytes:
    """Return a signature over (path -> SHA-256 in hex). `name` is for people, and not trusted by anybody.

    Raises:
        SigningUnavailableError: `model-signing` is not installed.
    """
    library = _library()
    serialization = library.manifest.SerializationType.from_args(_SERIALIZATION)
    items = [
        serialization.new_item(path, library.hashing.Digest("sha256", bytes.fromhex(digest)))
        for path, digest in digests.items()
    ]
    payload = library.signing.Payload(library.manifest.Manifest(name, items, serialization))
    if isinstance(key, CertifiedKey):
        # The library wants a chain, also where the root signed the certificate itself; itself again does no harm.
        chain = [_Memory(key.chain_pem or key.certificate_pem)]
        signer = library.certificate.Signer(_Memory(key.key.private_pem), _Memory(key.certificate_pem), chain)
    else:
        signer = library.ec_key.Signer(_Memory(key.private_pem))
    text: str = signer.sign(payload).bundle.to_json()
    return text.encode()


def read_signature(signature: bytes, trust: TrustStore) -> SignedContent:
    """Return what a signature says, after checking that somebody trusted says it.

    Raises:
        MalformedSignatureError: It is no signature.
        WrongSignatureError: Its key is unknown or revoked, or did not make it.
        SigningUnavailableError: `model-signing` is not installed.
    """
    library = _library()
    try:
        bundle = library.bundles.Signature.read(_Memory(signature))
        material = bundle.bundle.verification_material
        key_id = material.public_key.hint if material.public_key else None
        has_certificate = bool(material.x509_certificate_chain)
    except Exception as error:  # a parser of parsers: whatever it raises, the text is no signature
        raise MalformedSignatureError("this is no signature") from error
    verifier, signer = (
        _certificate_verifier(library, trust) if has_certificate else _key_verifier(library, trust, key_id)
    )
    try:
        manifest = verifier.verify(bundle)
    except InvalidSignature as error:
        raise WrongSignatureError("it was not made by the key it names, or was changed afterwards") from error
    except Exception as error:  # many kinds, from OpenSSL's to plain ones; none of them means: valid
        if has_certificate:
            raise WrongSignatureError(
                "no trusted authority vouches for its certificate", "signature.untrusted_certificate"
            ) from error
        raise WrongSignatureError("what it holds cannot be verified") from error
    return SignedContent(_digests(manifest), signer)


def _key_verifier(library: "_Library", trust: TrustStore, key_id: str | None) -> tuple[Any, str]:
    key = trust.keys.get(key_id or "")
    if key is None:
        raise WrongSignatureError("it was made with a key that nobody trusts here", "signature.unknown_key")
    if key.is_revoked:
        raise WrongSignatureError(f"it was made with the revoked key {key.name!a:.100}", "signature.revoked_key")
    return library.ec_key.Verifier(_Memory(key.public_pem.encode())), key.name


def _certificate_verifier(library: "_Library", trust: TrustStore) -> tuple[Any, str]:
    if not trust.authorities:  # the library would go on to trust every public web authority
        raise WrongSignatureError("no certificate authority is trusted here", "signature.untrusted_certificate")
    return library.certificate.Verifier([_Memory(pem.encode()) for pem in trust.authorities]), "certificate"


def _digests(manifest: Any) -> dict[str, str]:
    if manifest.serialization_type["method"] != "files":
        raise MalformedSignatureError("it signs parts of files, which is not supported here")
    resources = list(manifest.resource_descriptors())
    if any(resource.digest.algorithm != "sha256" for resource in resources):
        raise MalformedSignatureError("it uses another digest than SHA-256, which is not supported here")
    return {resource.identifier: resource.digest.digest_hex for resource in resources}


@dataclass(frozen=True, slots=True)
class _Memory:
    """Bytes that the library reads as if they were a file: no key ever touches the disk."""

    content: bytes = field(repr=False)

    def read_bytes(self) -> bytes:
        return self.content

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.content.decode(encoding)


@dataclass(frozen=True, slots=True)
class _Library:
    manifest: Any
    hashing: Any
    signing: Any
    ec_key: Any
    certificate: Any
    bundles: Any


def _library() -> _Library:
    try:
        from model_signing import manifest
        from model_signing._hashing import hashing
        from model_signing._signing import sign_certificate, sign_ec_key, sign_sigstore_pb, signing
    except ImportError as error:
        raise SigningUnavailableError(
            "signatures need two packages: pip install model-signing pyopenssl", code="signing.unavailable"
        ) from error
    return _Library(manifest, hashing, signing, sign_ec_key, sign_certificate, sign_sigstore_pb)
