"""Findings and facts on a terminal, or as JSON."""

import json
import sys
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_repository_tools.findings import Finding, Severity, has_errors
from model_repository_tools.inspection import OnnxInspection, VersionInspection
from model_repository_tools.manifest import Manifest

FINDINGS = 1

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


def print_json(value: Any) -> None:
    """Print a value for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def exit_on_errors(findings: Iterable[Finding], *, allow_code: bool = False) -> None:
    """End the command with status 1 if a finding forbids what it is about."""
    if has_errors(findings, allow_code=allow_code):
        raise typer.Exit(FINDINGS)


def print_findings(findings: Iterable[Finding], when_none: str = "") -> None:
    """Print each finding with its fix, or `when_none`."""
    console, is_empty = Console(), True
    for finding in findings:
        is_empty = False
        place = f" {escape(finding.path)}:" if finding.path else ""
        mark = f"[{_COLOURS[finding.severity]}]{finding.severity.value}[/]"
        console.print(f"{mark} {finding.code}:{place} {escape(finding.message)}")
        if finding.fix:
            console.print(f"  fix: {escape(finding.fix)}")
    if is_empty and when_none:
        console.print(f"[green]{when_none}[/]")


def print_onnx(inspection: OnnxInspection) -> None:
    """Print what an ONNX file is."""
    if not inspection.outputs:
        return
    tensors = Table("", "name", "type", "shape", title="Inputs and outputs", title_justify="left")
    for role, specs in (("input", inspection.inputs), ("output", inspection.outputs)):
        for spec in specs:
            tensors.add_row(role, escape(spec.name), spec.dtype.value, str(list(spec.shape)))
    operators = ", ".join(f"{item.op_type} x {item.count}" for item in inspection.operators)
    console = Console()
    console.print(tensors)
    console.print(f"ONNX opset {inspection.opset}, IR {inspection.ir_version}, by {escape(inspection.producer or '?')}")
    console.print(f"{inspection.size_bytes:,} bytes, {inspection.weight_bytes:,} of them large weights")
    console.print(f"Operators: {escape(operators)}")
    if inspection.external_files:
        console.print(f"Weights beside the model: {escape(', '.join(inspection.external_files))}")


def print_version(inspection: VersionInspection) -> None:
    """Print what a version's folder holds."""
    console = Console()
    console.print(f"{inspection.kind.value} model {escape(inspection.model_file)}".rstrip())
    console.print(f"{len(inspection.files)} files, {inspection.size_bytes:,} bytes; network {inspection.network.value}")
    if inspection.onnx is not None:
        print_onnx(inspection.onnx)
    if inspection.tensorrt is not None:
        console.print(f"built by TensorRT {inspection.tensorrt.version or '?'}, as it claims")
    if inspection.python is not None:
        console.print(f"methods: {escape(', '.join(inspection.python.methods))}")
        console.print(f"imports: {escape(', '.join(inspection.python.imports))}")


def print_manifest(manifest: Manifest) -> None:
    """Print the files of a manifest."""
    table = Table("path", "bytes", "sha256")
    for entry in manifest.entries:
        table.add_row(escape(entry.path), f"{entry.size_bytes:,}", entry.sha256)
    Console().print(table, f"digest {manifest.digest}")
