"""The publisher's signatures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.env import SecretFiles
from controlplane.registry.errors import SignatureInvalidError, SigningUnavailableError
from controlplane.registry.signing import PUBLIC_KEY, Ed25519VersionSigner, Statement
from controlplane.secret_files import init_secrets

STATEMENT = Statement("publication", "digits.v3", "ab" * 32, "default")


@pytest.fixture
def signer(tmp_path: Path) -> Ed25519VersionSigner:
    init_secrets(tmp_path)
    return Ed25519VersionSigner(SecretFiles(tmp_path))


def test_what_was_signed_passes(signer: Ed25519VersionSigner) -> None:
    signer.check(STATEMENT, signer.sign(STATEMENT))


@pytest.mark.parametrize(
    "other",
    [
        replace(STATEMENT, name="digits.v4"),
        replace(STATEMENT, kind="version"),
        replace(STATEMENT, pool="other"),
        replace(STATEMENT, digest="cd" * 32),
    ],
)
def test_a_signature_is_worth_nothing_for_anything_else(signer: Ed25519VersionSigner, other: Statement) -> None:
    with pytest.raises(SignatureInvalidError):
        signer.check(other, signer.sign(STATEMENT))


def test_every_way_to_be_wrong_is_told_apart(signer: Ed25519VersionSigner) -> None:
    good = signer.sign(STATEMENT)
    for wrong, message in [
        ({}, "is not signed"),
        (good | {"algorithm": "none"}, "in a way that is not known"),
        (good | {"key_id": "0" * 16}, "by the key 0000000000000000"),
        (good | {"digest": "cd" * 32}, "other bytes than were signed"),
        (good | {"value": good["value"][::-1]}, "signature of .* is wrong"),
        (good | {"value": "not base64!"}, "signature of .* is wrong"),
    ]:
        with pytest.raises(SignatureInvalidError, match=message):
            signer.check(STATEMENT, wrong)


def test_another_publishers_signature_is_refused(signer: Ed25519VersionSigner, tmp_path: Path) -> None:
    init_secrets(tmp_path / "stranger")
    stranger = Ed25519VersionSigner(SecretFiles(tmp_path / "stranger"))
    with pytest.raises(SignatureInvalidError, match="this control plane trusts"):
        signer.check(STATEMENT, stranger.sign(STATEMENT))


def test_a_process_without_the_key_checks_and_does_not_sign(signer: Ed25519VersionSigner, tmp_path: Path) -> None:
    signature = signer.sign(STATEMENT)
    reader = tmp_path / "reader"
    reader.mkdir()
    (reader / PUBLIC_KEY).write_bytes((tmp_path / PUBLIC_KEY).read_bytes())
    Ed25519VersionSigner(SecretFiles(reader)).check(STATEMENT, signature)
    with pytest.raises(SigningUnavailableError, match="publisher_key"):
        Ed25519VersionSigner(SecretFiles(reader)).sign(STATEMENT)
