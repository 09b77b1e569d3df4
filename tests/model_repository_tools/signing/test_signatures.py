import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from model_signing import signing as their_signing
from model_signing import verifying as their_verifying

from model_repository_tools.errors import InvalidKeyError, InvalidTrustError
from model_repository_tools.manifest import Manifest
from model_repository_tools.signing import (
    CertifiedKey,
    SigningKey,
    TrustedKey,
    TrustStore,
    Verification,
    key_id_of,
    sign_folder,
    sign_manifest,
    signature_path_of,
    verify_folder,
    verify_manifest,
)
from tests.model_repository_tools.signing.certificates import Authority

KEY = SigningKey.generate()
TRUSTED = TrustStore.of_keys(TrustedKey("release", KEY.public_pem.decode()))


def codes(result: Verification) -> list[str]:
    return [finding.code for finding in result.findings]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "digits.v3"
    (folder / "3").mkdir(parents=True)
    (folder / "config.pbtxt").write_text('name: "digits.v3"')
    (folder / "3" / "model.onnx").write_bytes(b"graph" * 1000)
    return folder


def test_what_was_signed_is_verified_by_name(folder: Path) -> None:
    signature = sign_folder(folder, KEY)
    assert signature == signature_path_of(folder) == folder.parent / "digits.v3.sig"
    assert verify_folder(folder, TRUSTED) == Verification("release", Manifest.of_folder(folder).digest)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["digits.v3", "digits.v3.sig"]


def change(folder: Path) -> None:
    content = bytearray((folder / "3/model.onnx").read_bytes())
    content[1234] ^= 1
    (folder / "3/model.onnx").write_bytes(content)


def remove(folder: Path) -> None:
    (folder / "3/model.onnx").unlink()


def add(folder: Path) -> None:
    (folder / "3/extra.bin").write_bytes(b"x")


def hide(folder: Path) -> None:
    """The library ignores git's files, also those that were never signed."""
    (folder / ".gitattributes").write_bytes(b"x")


def rename(folder: Path) -> None:
    (folder / "3/model.onnx").rename(folder / "3/other.onnx")


def link(folder: Path) -> None:
    (folder / "3/model.onnx").rename(folder.parent / "model.onnx")
    (folder / "3/model.onnx").symlink_to(folder.parent / "model.onnx")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (change, ["signature.file_changed"]),
        (remove, ["signature.file_missing"]),
        (add, ["signature.file_unexpected"]),
        (rename, ["signature.file_missing", "signature.file_unexpected"]),
        (hide, ["signature.unsafe"]),
        (link, ["signature.unsafe"]),
    ],
)
def test_each_kind_of_tampering_has_a_finding_of_its_own(
    folder: Path, damage: Callable[[Path], None], expected: list[str]
) -> None:
    sign_folder(folder, KEY)
    damage(folder)
    result = verify_folder(folder, TRUSTED)
    assert codes(result) == expected
    assert not result.is_valid


def test_a_wrong_key_is_a_finding(folder: Path) -> None:
    sign_folder(folder, SigningKey.generate())
    assert codes(verify_folder(folder, TRUSTED)) == ["signature.unknown_key"]
    assert codes(verify_folder(folder, TrustStore())) == ["signature.unknown_key"]


def test_a_signature_that_borrows_the_name_of_a_trusted_key_is_a_finding(folder: Path) -> None:
    bundle = json.loads(sign_manifest(Manifest.of_folder(folder), SigningKey.generate()))
    bundle["verificationMaterial"]["publicKey"]["hint"] = KEY.key_id
    signature_path_of(folder).write_text(json.dumps(bundle))
    assert codes(verify_folder(folder, TRUSTED)) == ["signature.invalid"]


def test_a_statement_changed_after_signing_is_a_finding(folder: Path) -> None:
    bundle = json.loads(sign_manifest(Manifest.of_folder(folder), KEY))
    statement = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"config.pbtxt", b"configs.pbtx")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(statement).decode()
    signature_path_of(folder).write_text(json.dumps(bundle))
    assert codes(verify_folder(folder, TRUSTED)) == ["signature.invalid"]


def test_a_revoked_key_is_a_finding(folder: Path) -> None:
    sign_folder(folder, KEY)
    revoked = TRUSTED.with_key(TrustedKey("release", KEY.public_pem.decode(), is_revoked=True))
    assert codes(verify_folder(folder, revoked)) == ["signature.revoked_key"]


def test_a_folder_without_signature_passes_only_by_its_digest(folder: Path) -> None:
    assert codes(verify_folder(folder, TRUSTED)) == ["signature.missing"]
    digest = Manifest.of_folder(folder).digest
    assert verify_folder(folder, TRUSTED.with_digest(digest, "checked by hand")).is_valid
    change(folder)
    assert codes(verify_folder(folder, TRUSTED.with_digest(digest, "checked by hand"))) == ["signature.missing"]


def test_a_withdrawn_digest_is_refused_however_well_signed(folder: Path) -> None:
    sign_folder(folder, KEY)
    digest = Manifest.of_folder(folder).digest
    assert codes(verify_folder(folder, TRUSTED.with_digest(digest, "leaks", is_revoked=True))) == [
        "signature.revoked_digest"
    ]


SIGNATURE = json.loads(sign_manifest(Manifest.of_entries([("a", "0" * 64, 1)]), KEY))


def without(*path: str) -> bytes:
    value = json.loads(json.dumps(SIGNATURE))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b"x" * ((16 << 20) + 1),
        without("dsseEnvelope"),
        without("verificationMaterial"),
        without("verificationMaterial", "publicKey"),
        without("verificationMaterial", "publicKey", "hint"),
        without("dsseEnvelope", "signatures"),
        without("mediaType"),
    ],
    ids=range(13),
)
def test_what_is_no_signature_is_a_finding(folder: Path, signature: bytes) -> None:
    result = verify_manifest(Manifest.of_folder(folder), signature, TRUSTED)
    assert not result.is_valid
    assert codes(result)[0] in {"signature.malformed", "signature.invalid", "signature.unknown_key"}


def signed_by(key: SigningKey, statement: dict[str, Any]) -> bytes:
    """Sign any statement the way the library does."""
    from cryptography.hazmat.primitives import hashes

    payload, kind = json.dumps(statement).encode(), "application/vnd.in-toto+json"
    private = serialization.load_pem_private_key(key.private_pem, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    signed = private.sign(f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload, ec.ECDSA(hashes.SHA256()))
    bundle = json.loads(json.dumps(SIGNATURE))
    bundle["verificationMaterial"]["publicKey"]["hint"] = key.key_id
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signed).decode(), "keyid": ""}]
    return json.dumps(bundle).encode()


def test_a_signed_statement_about_something_else_is_a_finding(folder: Path) -> None:
    statement = json.loads(base64.b64decode(SIGNATURE["dsseEnvelope"]["payload"]))
    manifest = Manifest.of_entries([("a", "0" * 64, 1)])
    assert verify_manifest(manifest, signed_by(KEY, statement), TRUSTED).is_valid
    other = {**statement, "predicateType": "https://example.com/release"}
    assert codes(verify_manifest(manifest, signed_by(KEY, other), TRUSTED)) == ["signature.invalid"]
    for name, value in (("algorithm", "blake3"), ("digest", "zz")):
        changed = json.loads(json.dumps(statement))
        changed["predicate"]["resources"][0][name] = value
        assert not verify_manifest(manifest, signed_by(KEY, changed), TRUSTED).is_valid


def test_a_certificate_is_trusted_through_its_authority(folder: Path) -> None:
    authority = Authority.create()
    sign_folder(folder, authority.certify(KEY))
    assert verify_folder(folder, TrustStore.of_authorities(authority.pem)).is_valid
    change(folder)
    assert codes(verify_folder(folder, TrustStore.of_authorities(authority.pem))) == ["signature.file_changed"]


def test_a_certificate_of_somebody_else_is_a_finding(folder: Path) -> None:
    sign_folder(folder, Authority.create().certify(KEY))
    for store in (TrustStore.of_authorities(Authority.create().pem), TrustStore(), TRUSTED):
        assert codes(verify_folder(folder, store)) == ["signature.untrusted_certificate"]


def test_a_certificate_for_another_key_is_refused() -> None:
    certified = Authority.create().certify(KEY)
    with pytest.raises(InvalidKeyError):
        CertifiedKey(SigningKey.generate(), certified.certificate_pem)


def test_the_librarys_own_verifier_accepts_what_we_sign(folder: Path, tmp_path: Path) -> None:
    signature = sign_folder(folder, KEY)
    (tmp_path / "key.pub").write_bytes(KEY.public_pem)
    verifier = their_verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "key.pub")
    verifier.verify(folder, signature)
    change(folder)
    with pytest.raises(ValueError, match="mismatch"):
        verifier.verify(folder, signature)


def test_we_accept_what_the_librarys_own_signer_signs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY.private_pem)
    signature = tmp_path / "theirs.sig"
    their_signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key").sign(folder, signature)
    assert verify_folder(folder, TRUSTED, signature).signer == "release"


def pem_of(key: Any, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return pem


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_keys_of_every_supported_curve_sign(folder: Path, curve: ec.EllipticCurve) -> None:
    key = SigningKey.from_pem(pem_of(ec.generate_private_key(curve), b"password"), b"password")
    sign_folder(folder, key)
    assert verify_folder(folder, TrustStore.of_keys(TrustedKey("k", key.public_pem.decode()))).is_valid


@pytest.mark.parametrize(
    ("pem", "password"),
    [
        (b"", None),
        (b"nonsense", None),
        (pem_of(ec.generate_private_key(ec.SECP256R1()), b"right"), b"wrong"),
        (pem_of(ec.generate_private_key(ec.SECP256R1()), b"right"), None),
        (pem_of(ec.generate_private_key(ec.SECP256K1())), None),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), None),
    ],
)
def test_what_is_no_usable_key_is_refused(pem: bytes, password: bytes | None) -> None:
    with pytest.raises(InvalidKeyError):
        SigningKey.from_pem(pem, password)


def test_a_key_never_shows_itself() -> None:
    assert "PRIVATE" not in repr(KEY)
    assert key_id_of(KEY.public_pem) == KEY.key_id
    with pytest.raises(InvalidKeyError):
        key_id_of(b"no key")


def test_a_trust_store_survives_its_file(tmp_path: Path) -> None:
    store = TRUSTED.with_digest("0" * 64, "by hand").with_digest("1" * 64, "bad", is_revoked=True)
    store = TrustStore(store.keys, (Authority.create().pem,), store.digests, store.revoked_digests)
    store.save(tmp_path / "trust.json")
    assert TrustStore.load(tmp_path / "trust.json") == store
    assert [path.name for path in tmp_path.iterdir()] == ["trust.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "keys": []}',
        '{"format": 1}',
        '{"format": 1, "keys": [1]}',
        '{"format": 1, "keys": [], "digests": {"short": ""}}',
        '{"format": 1, "keys": [], "authorities": ["no certificate"]}',
    ],
)
def test_what_is_no_trust_store_is_refused(text: str) -> None:
    with pytest.raises(InvalidTrustError):
        TrustStore.from_json(text)
