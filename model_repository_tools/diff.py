"""What changed between two versions: graph, weights, inputs and outputs, configuration, files, size."""

import difflib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from onnx import TensorProto

from model_repository_tools.config import render_config
from model_repository_tools.errors import InvalidModelError
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.inspection import ArtifactKind, Limits, OnnxInspection, VersionInspection
from model_repository_tools.inspection.skeleton import MalformedModelError, read_skeleton
from model_repository_tools.manifest import Manifest
from model_repository_tools.paths import safe_relative_path
from model_repository_tools.sandbox import run_limited
from model_repository_tools.tensors import TensorSpec
from model_repository_tools.validation import Validation, validate_version

MAX_LISTED = 200

_TASK = "model_repository_tools.diff:answer_weights"
_DIFF_LIMITS = Limits(cpu_s=120, wall_s=240.0, report_bytes=32 << 20)
_PIECE_BYTES = 1 << 20
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Changes:
    """Names that came, went, or stand for something else now; at most 200 of each are listed."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def to_dict(self) -> dict[str, list[str]]:
        """Return a form that JSON can hold."""
        return {"added": list(self.added), "removed": list(self.removed), "changed": list(self.changed)}


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What changed from an old version to a new one.

    Attributes:
        kinds: Of the two.
        size_bytes: Of the two, all files together.
        files: By content.
        inputs, outputs: By type and shape; what callers must know.
        operators: Operator -> how often in the old and the new graph, where that differs.
        structure_changed: The graphs differ in more than the values of their weights; None if that is unknown.
        weights: Initializers, by type, shape and values.
        config: Lines of a unified diff between the two configurations.
        findings: What could not be compared.
    """

    kinds: tuple[ArtifactKind, ArtifactKind]
    size_bytes: tuple[int, int]
    files: Changes = field(default_factory=Changes)
    inputs: Changes = field(default_factory=Changes)
    outputs: Changes = field(default_factory=Changes)
    operators: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    structure_changed: bool | None = None
    weights: Changes = field(default_factory=Changes)
    config: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def breaks_callers(self) -> bool:
        """True if a request for the old version may be wrong for the new one, or its answer look different."""
        return bool(self.inputs or self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return {
            "kinds": [kind.value for kind in self.kinds],
            "size_bytes": list(self.size_bytes),
            "files": self.files.to_dict(),
            "inputs": self.inputs.to_dict(),
            "outputs": self.outputs.to_dict(),
            "operators": {name: list(counts) for name, counts in self.operators.items()},
            "structure_changed": self.structure_changed,
            "weights": self.weights.to_dict(),
            "config": list(self.config),
            "breaks_callers": self.breaks_callers,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def diff_versions(old: Path, new: Path, limits: Limits = _DIFF_LIMITS) -> VersionDiff:
    """Compare two versions' folders. Whatever they hold is read in child processes with limits.

    Raises:
        UnsafePathError: A link or special file lies in one of them, or a name is unsafe.
        OSError: One of them cannot be read.
    """
    validations = [validate_version(folder, "model", 1, limits=limits) for folder in (old, new)]
    before, after = (validation.inspection for validation in validations)
    digests = [{entry.path: entry.sha256 for entry in Manifest.of_folder(folder).entries} for folder in (old, new)]
    graphs, findings = _read_graphs([(old, before), (new, after)], limits)
    return VersionDiff(
        kinds=(before.kind, after.kind),
        size_bytes=(before.size_bytes, after.size_bytes),
        files=_compare(*digests),
        inputs=_compare(_by_name(before.inputs), _by_name(after.inputs)),
        outputs=_compare(_by_name(before.outputs), _by_name(after.outputs)),
        operators=_compare_operators(before.onnx, after.onnx),
        structure_changed=graphs[0].structure != graphs[1].structure if graphs else None,
        weights=_compare(graphs[0].tensors, graphs[1].tensors) if graphs else Changes(),
        config=tuple(_compare_configs(*validations)),
        findings=tuple(findings),
    )


def answer_weights(path: str) -> dict[str, Any]:
    """Run in the child: a digest for every initializer, and one for the graph without their values.

    Raises:
        InvalidModelError: The file is no model.
        OSError: It cannot be read.
    """
    try:
        model = read_skeleton(Path(path), fingerprint=True).model
    except (MalformedModelError, DecodeError, RecursionError) as error:
        raise InvalidModelError("the graph cannot be read") from error
    tensors = {tensor.name: _tensor_digest(tensor, Path(path).parent) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        for name in [*(f.name for f, _ in tensor.ListFields() if f.name.endswith("_data")), "data_location"]:
            tensor.ClearField(name)
    model.ClearField("producer_version")
    model.ClearField("doc_string")
    structure = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    return {"tensors": tensors, "structure": structure}


@dataclass(frozen=True, slots=True)
class _Graph:
    structure: str
    tensors: Mapping[str, str]


def _read_graphs(versions: list[tuple[Path, VersionInspection]], limits: Limits) -> tuple[list[_Graph], list[Finding]]:
    """Return both graphs, or none of them and why."""
    graphs, findings = [], []
    for folder, inspection in versions:
        if inspection.onnx is None or not inspection.onnx.is_servable:
            continue
        path = (folder / inspection.model_file).absolute()
        outcome = run_limited(_TASK, {"path": str(path)}, limits, mapped_bytes=inspection.onnx.size_bytes)
        if outcome.failure:
            message = f"the weights of {folder.name} were not compared: it {outcome.reason}"
            findings.append(Finding("diff.not_compared", inspection.model_file, message, "", Severity.WARNING))
        else:
            graphs.append(_Graph(outcome.answer["structure"], outcome.answer["tensors"]))
    return (graphs if len(graphs) == len(versions) else []), findings


def _tensor_digest(tensor: Any, folder: Path) -> str:
    digest = hashlib.sha256(f"{tensor.data_type} {list(tensor.dims)} ".encode())
    if tensor.data_location == TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        _hash_region(folder / safe_relative_path(entries["location"].removeprefix("./")), entries, digest.update)
        return digest.hexdigest()
    for field_descriptor, value in tensor.ListFields():
        if field_descriptor.name.endswith("_data"):
            digest.update(field_descriptor.name.encode())
            digest.update(value if isinstance(value, bytes) else repr(list(value)).encode())
    return digest.hexdigest()


def _hash_region(path: Path, entries: Mapping[str, str], update: Callable[[bytes], object]) -> None:
    offset = int(entries.get("offset", "0"))
    left = int(entries.get("length", "0")) or path.stat().st_size - offset
    with path.open("rb") as file:
        file.seek(offset)
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            update(piece)
            left -= len(piece)


def _by_name(specs: tuple[TensorSpec, ...]) -> dict[str, tuple[object, ...]]:
    return {spec.name: (spec.dtype, spec.shape) for spec in specs}


def _compare(old: Mapping[str, _Value], new: Mapping[str, _Value]) -> Changes:
    changed = (name for name in old.keys() & new.keys() if old[name] != new[name])
    return Changes(_listed(new.keys() - old.keys()), _listed(old.keys() - new.keys()), _listed(changed))


def _listed(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names)[:MAX_LISTED])


def _compare_operators(old: OnnxInspection | None, new: OnnxInspection | None) -> dict[str, tuple[int, int]]:
    before, after = _count(old), _count(new)
    names = sorted(before.keys() | after.keys())
    counts = {name: (before.get(name, 0), after.get(name, 0)) for name in names}
    return {name: count for name, count in counts.items() if count[0] != count[1]}


def _count(inspection: OnnxInspection | None) -> dict[str, int]:
    operators = inspection.operators if inspection else ()
    return {f"{item.domain}::{item.op_type}".removeprefix("::"): item.count for item in operators}


def _compare_configs(old: Validation, new: Validation) -> Iterator[str]:
    before, after = (render_config(item.config).splitlines() if item.config else [] for item in (old, new))
    yield from difflib.unified_diff(before, after, "old/config.pbtxt", "new/config.pbtxt", n=1, lineterm="")
