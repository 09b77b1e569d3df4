"""Commands that write: unpack, publish."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from model_repository_tools.cli.arguments import (
    AllowCode,
    AsJson,
    Kind,
    MaxBatchSize,
    ModelPath,
    Name,
    Options,
    Version,
    prepare,
)
from model_repository_tools.cli.output import FINDINGS, exit_on_errors, print_findings, print_json
from model_repository_tools.config import InstanceKind, render_config
from model_repository_tools.errors import RepositoryConflictError
from model_repository_tools.findings import Finding
from model_repository_tools.inspection.version import CONFIG_FILE
from model_repository_tools.manifest import Manifest
from model_repository_tools.repository import FolderRepository
from model_repository_tools.signing import TrustStore, read_signature_of, verify_manifest
from model_repository_tools.unpacking import UnpackLimits, unpack_to_folder


def unpack(
    source: Annotated[Path, typer.Argument(exists=True, help="A zip, tar or tar.gz, or a folder.")],
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    *,
    max_files: Annotated[int, typer.Option(min=1)] = UnpackLimits().max_entries,
    max_bytes: Annotated[int, typer.Option(min=1)] = UnpackLimits().max_total_bytes,
    as_json: AsJson = False,
) -> None:
    """Unpack an archive from a stranger, whole or not at all, and never outside the folder."""
    report = unpack_to_folder(source, folder, UnpackLimits(max_entries=max_files, max_total_bytes=max_bytes))
    if as_json:
        print_json(report.to_dict())
    else:
        print_findings(report.findings, f"{len(report.files)} files, {report.size_bytes:,} bytes")
    exit_on_errors(report.findings)


def publish(
    path: ModelPath,
    *,
    repository: Annotated[Path, typer.Option(file_okay=False, help="The folder Triton reads models from.")],
    name: Name,
    version: Version,
    max_batch_size: MaxBatchSize = 32,
    kind: Kind = InstanceKind.AUTO,
    options: Options = None,
    trust: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Demand a signature by somebody in this store.")
    ] = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Put a model into a repository, whole or not at all. Loading it is Triton's or your next step."""
    signed = _signed_files(path, trust, as_json) if trust else None
    prepared = prepare(path, name, version, max_batch_size, kind, options)
    wanted = prepared.config
    if wanted is None or not prepared.is_publishable(allow_code):
        _refuse(list(prepared.findings), as_json)
    target = FolderRepository(repository)
    stage_id = f"cli-{wanted.name.replace('.', '-')}"
    staged = target.stage(stage_id, wanted.name, version, files=prepared.files, config_text=render_config(wanted))
    try:
        if signed is not None and signed != _version_files(staged.manifest, f"{version}/"):
            raise RepositoryConflictError("the files changed after their signature was checked: publish again")
        target.commit(staged)
    finally:
        target.discard_stage(staged.publication_id)
    if as_json:
        print_json({"name": wanted.name, "version": version, "digest": staged.manifest.digest})
    else:
        Console().print(f"[bold]{escape(wanted.name)}[/] is in the repository, digest {staged.manifest.digest}")


def _signed_files(folder: Path, trust: Path, as_json: bool) -> dict[str, str]:
    """Return the digests that somebody trusted signed, without the config.pbtxt, which is written anew."""
    manifest = Manifest.of_folder(folder)
    findings = verify_manifest(manifest, read_signature_of(folder), TrustStore.load(trust)).findings
    if findings:
        _refuse(list(findings), as_json)
    return {path: digest for path, digest in _version_files(manifest).items() if path != CONFIG_FILE}


def _version_files(manifest: Manifest, prefix: str = "") -> dict[str, str]:
    return {
        entry.path.removeprefix(prefix): entry.sha256 for entry in manifest.entries if entry.path.startswith(prefix)
    }


def _refuse(findings: list[Finding], as_json: bool) -> NoReturn:
    if as_json:
        print_json({"findings": [finding.to_dict() for finding in findings]})
    else:
        print_findings(findings)
    raise typer.Exit(FINDINGS)
