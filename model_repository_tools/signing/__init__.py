"""Signatures over folders and manifests, in the format of OpenSSF's `model-signing`, made and checked offline."""

from model_repository_tools.signing.folders import read_signature_of, sign_folder, signature_path_of, verify_folder
from model_repository_tools.signing.keys import CertifiedKey, SigningKey, key_id_of
from model_repository_tools.signing.manifests import Verification, sign_manifest, verify_manifest
from model_repository_tools.signing.trust import TrustedKey, TrustStore

__all__ = [
    "CertifiedKey",
    "SigningKey",
    "TrustStore",
    "TrustedKey",
    "Verification",
    "key_id_of",
    "read_signature_of",
    "sign_folder",
    "sign_manifest",
    "signature_path_of",
    "verify_folder",
    "verify_manifest",
]
