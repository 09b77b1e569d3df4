"""The console script `model-repository`. Exit status: 0 fine, 1 findings that forbid it, 2 the call was wrong."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_repository_tools.config import InstanceGroup, InstanceKind, ModelConfig, derive_config, render_config
from model_repository_tools.errors import ModelRepositoryError
from model_repository_tools.findings import Finding, Severity, has_errors
from model_repository_tools.inspection import OnnxInspection, inspect_untrusted
from model_repository_tools.manifest import Manifest, verify
from model_repository_tools.repository import FolderRepository

FINDINGS = 1

app = typer.Typer(help="Inspect models, write their config.pbtxt and publish them to a Triton model repository.")

ModelPath = Annotated[Path, typer.Argument(exists=True, help="An .onnx file, or a folder with model.onnx in it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Name = Annotated[str, typer.Option(help="The model's slug; its folder becomes SLUG.vN.")]
Version = Annotated[int, typer.Option(min=1, help="The version's number; never use one again for other bytes.")]
MaxBatchSize = Annotated[int, typer.Option(min=0, help="Largest batch Triton may build; 0 turns batching off.")]
Kind = Annotated[InstanceKind, typer.Option(help="Where the model runs.", case_sensitive=False)]


@app.command()
def inspect(path: ModelPath, as_json: AsJson = False) -> None:
    """Say what a model is, and what keeps it from being served. Reads it in a child process with limits."""
    inspection = inspect_untrusted(_model_file(path))
    if as_json:
        _print_json({**inspection.to_dict(), "is_servable": inspection.is_servable})
    else:
        _print_inspection(inspection)
    _exit_on_errors(inspection.findings)


@app.command()
def config(
    path: ModelPath,
    *,
    name: Name,
    version: Version,
    max_batch_size: MaxBatchSize = 32,
    kind: Kind = InstanceKind.AUTO,
    as_json: AsJson = False,
) -> None:
    """Print the config.pbtxt that serves a model."""
    inspection = inspect_untrusted(_model_file(path))
    _refuse_errors(inspection, as_json)
    text = render_config(_config(inspection, name, version, max_batch_size, kind))
    if as_json:
        _print_json({"config": text, "findings": [finding.to_dict() for finding in inspection.findings]})
    else:
        sys.stdout.write(text)


@app.command("verify")
def verify_folder(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A model's or version's folder.")],
    manifest: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="What it must hold.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the manifest of a folder (--json: in the form that --manifest reads), or compare it with one."""
    if manifest is None:
        found = Manifest.of_folder(folder)
        if as_json:
            sys.stdout.write(found.to_json() + "\n")
        else:
            _print_manifest(found)
        return
    expected = Manifest.from_json(manifest.read_text(encoding="utf-8"))
    findings = verify(expected, folder)
    if as_json:
        _print_json({"digest": expected.digest, "findings": [finding.to_dict() for finding in findings]})
    else:
        _print_findings(findings, "the folder holds exactly what the manifest says")
    _exit_on_errors(findings)


@app.command()
def publish(
    path: ModelPath,
    *,
    repository: Annotated[Path, typer.Option(file_okay=False, help="The folder Triton reads models from.")],
    name: Name,
    version: Version,
    max_batch_size: MaxBatchSize = 32,
    kind: Kind = InstanceKind.AUTO,
    as_json: AsJson = False,
) -> None:
    """Put a model into a repository, whole or not at all. Loading it is Triton's or your next step."""
    model = _model_file(path)
    inspection = inspect_untrusted(model)
    _refuse_errors(inspection, as_json)
    wanted = _config(inspection, name, version, max_batch_size, kind)
    files = {"model.onnx": model} | {part: model.parent / part for part in inspection.external_files}
    target = FolderRepository(repository)
    staged = target.stage(
        f"cli-{wanted.name.replace('.', '-')}", wanted.name, version, files=files, config_text=render_config(wanted)
    )
    try:
        target.commit(staged)
    finally:
        target.discard_stage(staged.publication_id)
    if as_json:
        _print_json({"name": wanted.name, "version": version, "digest": staged.manifest.digest})
    else:
        Console().print(f"[bold]{escape(wanted.name)}[/] is in the repository, digest {staged.manifest.digest}")


def main() -> None:
    """Run the command line. What this library refuses is one line on stderr, never a stack trace."""
    try:
        app()
    except (ModelRepositoryError, ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        code = getattr(error, "code", "cli.refused")
        if "--json" in sys.argv:
            _print_json({"error": {"code": code, "message": reason}})
        else:
            Console(stderr=True).print(f"[red]{escape(reason)}[/] ({code})")
        sys.exit(2)


def _model_file(path: Path) -> Path:
    return path / "model.onnx" if path.is_dir() else path


def _config(
    inspection: OnnxInspection, name: str, version: int, max_batch_size: int, kind: InstanceKind
) -> ModelConfig:
    groups = () if kind is InstanceKind.AUTO else (InstanceGroup(kind),)
    return derive_config(
        inspection, f"{name}.v{version}", version, max_batch_size=max_batch_size, instance_groups=groups
    )


def _refuse_errors(inspection: OnnxInspection, as_json: bool) -> None:
    if inspection.is_servable:
        return
    if as_json:
        _print_json({"findings": [finding.to_dict() for finding in inspection.findings]})
    else:
        _print_findings(inspection.findings, "")
    raise typer.Exit(FINDINGS)


def _exit_on_errors(findings: tuple[Finding, ...] | list[Finding]) -> None:
    if has_errors(findings):
        raise typer.Exit(FINDINGS)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _print_inspection(inspection: OnnxInspection) -> None:
    tensors = Table("", "name", "type", "shape", title="Inputs and outputs", title_justify="left")
    for role, specs in (("input", inspection.inputs), ("output", inspection.outputs)):
        for spec in specs:
            tensors.add_row(role, escape(spec.name), spec.dtype.value, str(list(spec.shape)))
    operators = ", ".join(f"{item.op_type} x {item.count}" for item in inspection.operators)
    console = Console()
    _print_findings(inspection.findings, "nothing keeps it from being served")
    if not inspection.outputs:
        return
    console.print(tensors)
    console.print(f"ONNX opset {inspection.opset}, IR {inspection.ir_version}, by {escape(inspection.producer or '?')}")
    console.print(f"{inspection.size_bytes:,} bytes, {inspection.weight_bytes:,} of them large weights")
    console.print(f"Operators: {escape(operators)}")
    if inspection.external_files:
        console.print(f"Weights beside the model: {escape(', '.join(inspection.external_files))}")


def _print_manifest(manifest: Manifest) -> None:
    table = Table("path", "bytes", "sha256")
    for entry in manifest.entries:
        table.add_row(escape(entry.path), f"{entry.size_bytes:,}", entry.sha256)
    Console().print(table, f"digest {manifest.digest}")


def _print_findings(findings: tuple[Finding, ...] | list[Finding], when_none: str) -> None:
    console = Console()
    if not findings:
        console.print(f"[green]{when_none}[/]")
    for finding in findings:
        colour = "red" if finding.severity is Severity.ERROR else "yellow"
        console.print(f"[{colour}]{finding.severity.value}[/] {finding.code}: {escape(finding.message)}")
        if finding.fix:
            console.print(f"  fix: {escape(finding.fix)}")
