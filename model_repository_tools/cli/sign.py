"""Commands about signatures and manifests: sign, verify."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from model_repository_tools.cli.arguments import AsJson
from model_repository_tools.cli.output import exit_on_errors, print_findings, print_json, print_manifest
from model_repository_tools.manifest import Manifest
from model_repository_tools.manifest import verify as verify_against
from model_repository_tools.signing import (
    CertifiedKey,
    SigningKey,
    TrustedKey,
    TrustStore,
    sign_folder,
    verify_folder,
)

Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A model's or version's folder.")]
Signature = Annotated[Path | None, typer.Option(dir_okay=False, help="Default: FOLDER.sig, beside the folder.")]


def sign(
    folder: Folder,
    *,
    key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="EC private key, PEM.")],
    password_file: Annotated[Path | None, typer.Option(exists=True, help="Holds the key's password.")] = None,
    certificate: Annotated[Path | None, typer.Option(exists=True, help="The key's certificate, PEM.")] = None,
    chain: Annotated[Path | None, typer.Option(exists=True, help="Certificates between it and the root.")] = None,
    signature: Signature = None,
    as_json: AsJson = False,
) -> None:
    """Sign what lies in a folder, with OpenSSF model-signing, offline."""
    password = password_file.read_bytes().rstrip(b"\r\n") if password_file else None
    private = SigningKey.from_pem(key.read_bytes(), password)
    signer: SigningKey | CertifiedKey = private
    if certificate is not None:
        signer = CertifiedKey(private, certificate.read_bytes(), chain.read_bytes() if chain else b"")
    path = sign_folder(folder, signer, signature)
    digest = Manifest.of_folder(folder).digest
    if as_json:
        print_json({"signature": str(path), "digest": digest})
    else:
        Console().print(f"signed, digest {digest}", f"signature {escape(str(path))}", sep="\n")


def verify(
    folder: Folder,
    *,
    manifest: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="What it must hold.")] = None,
    key: Annotated[list[Path] | None, typer.Option(exists=True, help="A public key to trust, PEM.")] = None,
    authority: Annotated[list[Path] | None, typer.Option(exists=True, help="A root certificate, PEM.")] = None,
    trust: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A trust store, JSON.")] = None,
    signature: Signature = None,
    as_json: AsJson = False,
) -> None:
    """Print the manifest of a folder (--json: in the form that --manifest reads), or compare it with one.

    With --key, --authority or --trust: check its signature.
    """
    if key or authority or trust:
        _verify_signature(folder, _trust_store(key or [], authority or [], trust), signature, as_json)
    elif manifest is not None:
        _verify_manifest(folder, Manifest.from_json(manifest.read_text(encoding="utf-8")), as_json)
    elif as_json:
        typer.echo(Manifest.of_folder(folder).to_json())
    else:
        print_manifest(Manifest.of_folder(folder))


def _trust_store(keys: list[Path], authorities: list[Path], trust: Path | None) -> TrustStore:
    store = TrustStore.load(trust) if trust else TrustStore()
    if authorities:
        given = TrustStore.of_authorities(*(path.read_text(encoding="utf-8") for path in authorities))
        store = TrustStore(store.keys, (*store.authorities, *given.authorities), store.digests, store.revoked_digests)
    for path in keys:
        store = store.with_key(TrustedKey(path.stem, path.read_text(encoding="utf-8")))
    return store


def _verify_signature(folder: Path, trusted: TrustStore, signature: Path | None, as_json: bool) -> None:
    result = verify_folder(folder, trusted, signature)
    if as_json:
        findings = [finding.to_dict() for finding in result.findings]
        print_json({"signer": result.signer, "digest": result.digest, "findings": findings})
    else:
        print_findings(result.findings, f"exactly these files were signed by {escape(result.signer)}")
    exit_on_errors(result.findings)


def _verify_manifest(folder: Path, expected: Manifest, as_json: bool) -> None:
    findings = verify_against(expected, folder)
    if as_json:
        print_json({"digest": expected.digest, "findings": [finding.to_dict() for finding in findings]})
    else:
        print_findings(findings, "the folder holds exactly what the manifest says")
    exit_on_errors(findings)
