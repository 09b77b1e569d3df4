"""Signatures over folders. The signature lies beside the folder, so that the folder stays what was signed."""

import os
from pathlib import Path

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.findings import Finding
from model_repository_tools.manifest import Manifest
from model_repository_tools.signing.keys import CertifiedKey, SigningKey
from model_repository_tools.signing.manifests import (
    MAX_SIGNATURE_BYTES,
    Verification,
    sign_manifest,
    verify_manifest,
)
from model_repository_tools.signing.trust import TrustStore


def signature_path_of(folder: Path) -> Path:
    """Return where a folder's signature lies: `digits.v3.sig` beside `digits.v3`."""
    return folder.with_name(folder.name + ".sig")


def sign_folder(folder: Path, key: SigningKey | CertifiedKey, signature: Path | None = None) -> Path:
    """Hash a folder, sign it, and write the signature, whole or not at all.

    Returns:
        Where the signature lies: at `signature`, else beside the folder.

    Raises:
        UnsafePathError: A link or special file lies in the folder, or a name is unsafe.
        SigningUnavailableError: `model-signing` is not installed.
        OSError: The disk refused.
    """
    folder = folder.absolute()
    target = signature or signature_path_of(folder)
    content = sign_manifest(Manifest.of_folder(folder), key, folder.name)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.rename(target)
    return target


def verify_folder(folder: Path, trusted: TrustStore, signature: Path | None = None) -> Verification:
    """Check that somebody who is trusted signed exactly what lies in a folder now.

    Args:
        folder: What was signed.
        trusted: Who may sign.
        signature: Where the signature lies; default: beside the folder.

    Raises:
        SigningUnavailableError: `model-signing` is not installed.
        OSError: The folder cannot be read.
    """
    folder = folder.absolute()
    try:
        manifest = Manifest.of_folder(folder)
    except UnsafePathError as error:
        return Verification(findings=(Finding("signature.unsafe", "", str(error), "use plain files and names"),))
    return verify_manifest(manifest, read_signature_of(folder, signature), trusted)


def read_signature_of(folder: Path, signature: Path | None = None) -> bytes | None:
    """Return a folder's signature as it is, for `verify_manifest`; None if there is none."""
    try:
        with (signature or signature_path_of(folder.absolute())).open("rb") as file:
            return file.read(MAX_SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None
