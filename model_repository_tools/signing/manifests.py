"""Signatures over a manifest: a version's files, or a publication (the same files with the rendered config.pbtxt)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from model_repository_tools.findings import Finding, has_errors
from model_repository_tools.manifest import Manifest
from model_repository_tools.signing.keys import CertifiedKey, SigningKey
from model_repository_tools.signing.openssf import (
    MalformedSignatureError,
    WrongSignatureError,
    read_signature,
    sign_digests,
)
from model_repository_tools.signing.trust import TrustStore

MAX_SIGNATURE_BYTES = 16 << 20
_SIGN_AGAIN = "sign it again, with a key that is trusted here"
_UPLOAD_AGAIN = "bring back the files that were signed, or have the new ones signed"


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of a check.

    Attributes:
        signer: The name of the trusted key; "certificate" for one with a certificate; "" if nobody vouches.
        digest: Of the manifest that was checked.
        findings: Empty means: exactly these files were signed by somebody who is trusted.
    """

    signer: str = ""
    digest: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def is_valid(self) -> bool:
        """True if no finding is an error."""
        return not has_errors(self.findings)


def sign_manifest(manifest: Manifest, key: SigningKey | CertifiedKey, name: str = "model") -> bytes:
    """Return a signature over the files of a manifest, as `model_signing verify` reads it.

    No file is read: the digests are those of the manifest. `name` is for people.

    Raises:
        SigningUnavailableError: `model-signing` is not installed.
    """
    return sign_digests({entry.path: entry.sha256 for entry in manifest.entries}, name, key)


def verify_manifest(manifest: Manifest, signature: bytes | None, trusted: TrustStore) -> Verification:
    """Check that somebody who is trusted signed exactly the files of `manifest`.

    Unknown key, wrong signature, changed, missing and unexpected file are findings of different codes.

    Args:
        manifest: Of what is there now.
        signature: None if there is none; then only a manifest whose digest is trusted passes.
        trusted: Who may sign.

    Raises:
        SigningUnavailableError: `model-signing` is not installed.
    """
    digest = manifest.digest
    if note := trusted.revoked_digests.get(digest):
        message = f"these files were withdrawn: {note!a:.200}"
        return Verification("", digest, (Finding("signature.revoked_digest", "", message, "use another version"),))
    if signature is None:
        return _unsigned(digest, trusted)
    if len(signature) > MAX_SIGNATURE_BYTES:
        return _failed(digest, "signature.malformed", "it is too large to be a signature")
    try:
        content = read_signature(signature, trusted)
    except MalformedSignatureError as error:
        return _failed(digest, "signature.malformed", str(error))
    except WrongSignatureError as error:
        return _failed(digest, error.code, str(error))
    found = {entry.path: entry.sha256 for entry in manifest.entries}
    return Verification(content.signer, digest, tuple(_compare(content.digests, found)))


def _unsigned(digest: str, trusted: TrustStore) -> Verification:
    if digest in trusted.digests:
        return Verification("trusted digest", digest)
    return _failed(digest, "signature.missing", "there is no signature")


def _failed(digest: str, code: str, message: str) -> Verification:
    return Verification("", digest, (Finding(code, "", message, _SIGN_AGAIN),))


def _compare(signed: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Finding]:
    for path in sorted(signed.keys() | found.keys()):
        shown = ascii(path)[1:-1][:200]
        if path not in found:
            yield Finding("signature.file_missing", shown, f"{shown} was signed and is missing", _UPLOAD_AGAIN)
        elif path not in signed:
            yield Finding("signature.file_unexpected", shown, f"{shown} was never signed", "remove it, or sign again")
        elif signed[path] != found[path]:
            yield Finding("signature.file_changed", shown, f"{shown} was changed after it was signed", _UPLOAD_AGAIN)
