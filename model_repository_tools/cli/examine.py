"""Commands that look and say: inspect, config, validate, diff."""

import sys
from pathlib import Path
from typing import Annotated

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
    VersionFolder,
    prepare,
)
from model_repository_tools.cli.output import (
    FINDINGS,
    exit_on_errors,
    print_findings,
    print_json,
    print_onnx,
    print_version,
)
from model_repository_tools.config import InstanceKind, render_config
from model_repository_tools.diff import Changes, VersionDiff, diff_versions
from model_repository_tools.inspection import inspect_untrusted, inspect_version
from model_repository_tools.pools import PoolFacts
from model_repository_tools.validation import Declaration, validate_version


def inspect(path: ModelPath, as_json: AsJson = False) -> None:
    """Say what a model is, and what keeps it from being served. Reads it in a child process with limits."""
    if path.is_dir():
        _inspect_folder(path, as_json)
        return
    inspection = inspect_untrusted(path)
    if as_json:
        print_json({**inspection.to_dict(), "is_servable": inspection.is_servable})
    else:
        print_findings(inspection.findings, "nothing keeps it from being served")
        print_onnx(inspection)
    exit_on_errors(inspection.findings)


def config(
    path: ModelPath,
    *,
    name: Name,
    version: Version,
    max_batch_size: MaxBatchSize = 32,
    kind: Kind = InstanceKind.AUTO,
    options: Options = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Print the config.pbtxt that serves a model."""
    prepared = prepare(path, name, version, max_batch_size, kind, options)
    findings = [finding.to_dict() for finding in prepared.findings]
    if prepared.config is None or not prepared.is_publishable(allow_code):
        if as_json:
            print_json({"findings": findings})
        else:
            print_findings(prepared.findings)
        raise typer.Exit(FINDINGS)
    text = render_config(prepared.config)
    if as_json:
        print_json({"config": text, "findings": findings})
    else:
        sys.stdout.write(text)


def validate(
    folder: VersionFolder,
    *,
    name: Name = "model",
    version: Version = 1,
    gpu: Annotated[bool | None, typer.Option(help="The pool has GPUs, or none.")] = None,
    pool_tensorrt: Annotated[str, typer.Option(help="TensorRT of the pool's servers: 10.3.0")] = "",
    pool_capability: Annotated[list[str] | None, typer.Option(help="Compute capability of its GPUs: 8.6")] = None,
    tensorrt: Annotated[str, typer.Option(help="TensorRT that built the plan, as its author says.")] = "",
    capability: Annotated[str, typer.Option(help="Compute capability the plan was built on, as its author says.")] = "",
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Say everything that speaks against publishing a version: its files, its config.pbtxt, and the pool."""
    pool = None
    if gpu is not None or pool_tensorrt or pool_capability:
        pool = PoolFacts(gpu is not False, pool_tensorrt, tuple(pool_capability or ()))
    validation = validate_version(
        folder, f"{name}.v{version}", version, declaration=Declaration(tensorrt, capability), pool=pool
    )
    if as_json:
        print_json({**validation.to_dict(), "is_publishable": validation.is_publishable(allow_code=allow_code)})
    else:
        print_findings(validation.findings, "nothing speaks against publishing it")
        print_version(validation.inspection)
    if not validation.is_publishable(allow_code=allow_code):
        raise typer.Exit(FINDINGS)


def diff(old: VersionFolder, new: VersionFolder, as_json: AsJson = False) -> None:
    """Say what changed between two versions: graph, weights, inputs and outputs, configuration, size."""
    changes = diff_versions(old, new)
    if as_json:
        print_json(changes.to_dict())
    else:
        print_findings(changes.findings)
        _print_diff(changes)


def _inspect_folder(folder: Path, as_json: bool) -> None:
    inspection = inspect_version(folder)
    if as_json:
        extra = {"network": inspection.network.value, "is_servable": inspection.is_servable()}
        print_json({**inspection.to_dict(), **extra})
    else:
        print_findings(inspection.findings, "nothing keeps it from being served")
        print_version(inspection)
    exit_on_errors(inspection.findings)


def _print_diff(changes: VersionDiff) -> None:
    console = Console()
    old_bytes, new_bytes = changes.size_bytes
    console.print(f"size {old_bytes:,} -> {new_bytes:,} bytes ({new_bytes - old_bytes:+,})")
    if changes.kinds[0] is not changes.kinds[1]:
        console.print(f"kind {changes.kinds[0].value} -> {changes.kinds[1].value}")
    if changes.breaks_callers:
        console.print("[red]inputs or outputs changed: callers may break[/]")
    groups = {
        "inputs": changes.inputs,
        "outputs": changes.outputs,
        "weights": changes.weights,
        "files": changes.files,
    }
    for title, group in groups.items():
        _print_changes(console, title, group)
    for name, (before, after) in changes.operators.items():
        console.print(f"operator {escape(name)} {before} -> {after}")
    if changes.structure_changed is not None:
        console.print("the graph's structure " + ("changed" if changes.structure_changed else "is the same"))
    for line in changes.config:
        console.print(escape(line))


def _print_changes(console: Console, title: str, changes: Changes) -> None:
    for word, names in (("added", changes.added), ("removed", changes.removed), ("changed", changes.changed)):
        if names:
            console.print(f"{title} {word}: {escape(', '.join(names))}")
