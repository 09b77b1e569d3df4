"""Inspection of ONNX files. Nothing is executed, and weights are never loaded."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.inspection.result import OnnxInspection, OperatorCount, OperatorSet
from model_repository_tools.inspection.skeleton import MalformedModelError, read_skeleton
from model_repository_tools.paths import safe_relative_path
from model_repository_tools.tensors import MAX_RANK, DataType, TensorSpec

DEFAULT_MAX_SIZE_BYTES = 2 << 30  # protobuf's own limit; larger models keep their weights in external files
MAX_DIMENSION = (1 << 31) - 1
MAX_TENSORS = 1000
MAX_NAME_LENGTH = 200

_NEWEST_OPSET = onnx.defs.onnx_opset_version()
_RUNTIME_DOMAINS = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.nchwc",
    }
)
# Operators of that runtime which start or load something from outside the graph.
_CODE_OPERATORS = frozenset({"ATen", "ATenOp", "EPContext", "PythonOp", "PythonOpGrad"})


def inspect_onnx(path: Path, *, max_size_bytes: int = DEFAULT_MAX_SIZE_BYTES) -> OnnxInspection:
    """Say what an ONNX file is and what keeps it from being served.

    The model is not executed and no external file is opened. For files from strangers use `inspect_untrusted`, which
    does this in a child process with limits.

    Args:
        path: The .onnx file; external files are looked for beside it.
        max_size_bytes: A larger file is not opened.

    Raises:
        OSError: The file cannot be read.
    """
    size_bytes = path.stat().st_size
    if size_bytes > max_size_bytes:
        too_large = Finding("onnx.too_large", path.name, f"the file is larger than {max_size_bytes} bytes")
        return OnnxInspection(size_bytes, findings=(too_large,))
    try:
        skeleton = read_skeleton(path)
        return _examine(skeleton.model, path, size_bytes, skeleton.dropped_bytes)
    except MalformedModelError as error:
        finding = Finding(error.code, path.name, str(error), "export the model again, and upload all of it")
    except (DecodeError, UnicodeDecodeError, RecursionError):
        finding = Finding("onnx.not_a_model", path.name, "the file is not an ONNX model", "export the model again")
    return OnnxInspection(size_bytes, findings=(finding,))


def _examine(model: Any, path: Path, size_bytes: int, dropped_bytes: int) -> OnnxInspection:
    findings: list[Finding] = []
    if not model.ir_version or not model.HasField("graph") or not model.graph.output:
        missing = Finding("onnx.no_graph", path.name, "the file holds no graph with outputs", "export the model again")
        return OnnxInspection(size_bytes, findings=(missing,))
    operators = _count_operators(model)
    custom_domains = sorted({domain for domain, _ in operators if domain not in _RUNTIME_DOMAINS})
    findings += [_custom_operators(domain) for domain in custom_domains]
    findings += [_code_operator(name) for domain, name in sorted(operators) if domain and name in _CODE_OPERATORS]
    opsets = sorted({(_domain(opset.domain), opset.version) for opset in model.opset_import})
    findings += _opset_findings(opsets)
    inputs, outputs = _tensors(model.graph, findings)
    external_files, external_bytes = _external_data(model, path.parent, findings)
    return OnnxInspection(
        size_bytes=size_bytes,
        inputs=inputs,
        outputs=outputs,
        opsets=tuple(OperatorSet(domain[:MAX_NAME_LENGTH], version) for domain, version in opsets),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip()[:MAX_NAME_LENGTH],
        operators=tuple(OperatorCount(*key, count) for key, count in sorted(operators.items())),
        custom_domains=tuple(custom_domains),
        weight_bytes=dropped_bytes + external_bytes,
        external_files=external_files,
        findings=tuple(findings),
    )


def _tensors(graph: Any, findings: list[Finding]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    if len(graph.input) + len(graph.output) > MAX_TENSORS + len(graph.initializer):
        findings.append(
            Finding("onnx.too_many_tensors", "", f"the graph has more than {MAX_TENSORS} inputs and outputs")
        )
        return (), ()
    with_default = {tensor.name for tensor in graph.initializer}
    with_default |= {tensor.values.name for tensor in graph.sparse_initializer}
    required = [value for value in graph.input if value.name not in with_default]
    names = Counter(value.name for value in [*required, *graph.output])
    findings += [
        Finding(
            "onnx.duplicate_name", name[:MAX_NAME_LENGTH], "two inputs or outputs have this name", "rename one of them"
        )
        for name, count in names.items()
        if count > 1
    ]
    return tuple(_specs(required, findings)), tuple(_specs(graph.output, findings))


def _specs(values: Iterable[Any], findings: list[Finding]) -> Iterator[TensorSpec]:
    for value in values:
        problem = _type_problem(value)
        if problem is not None:
            findings.append(problem)
            continue
        tensor = value.type.tensor_type
        dimensions = [_dimension(dimension) for dimension in tensor.shape.dim]
        bad = [size for size, _ in dimensions if not (size == -1 or 0 < size <= MAX_DIMENSION)]
        if bad or len(dimensions) > MAX_RANK:
            findings.append(_bad_shape(value.name))
            continue
        data_type = DataType.from_onnx(tensor.elem_type)
        assert data_type is not None, "_type_problem reports these"  # noqa: S101 - narrows the type
        shape, axes = tuple(size for size, _ in dimensions), tuple(name for _, name in dimensions)
        yield TensorSpec(value.name, data_type, shape, axes if any(axes) else ())


def _type_problem(value: Any) -> Finding | None:
    """Return the finding for a value that is no tensor of a type that Triton has, with a shape."""
    name = value.name[:MAX_NAME_LENGTH]
    if not value.name or len(value.name) > MAX_NAME_LENGTH or not value.name.isprintable():
        return Finding(
            "onnx.bad_name", name, "an input or output has no usable name", "give it a short, printable name"
        )
    kind = value.type.WhichOneof("value")
    if kind == "sequence_type" and value.type.sequence_type.elem_type.WhichOneof("value") == "map_type":
        fix = "export with zipmap off: to_onnx(..., options={'zipmap': False})"
        return Finding("onnx.zipmap_output", name, f"{name} is a list of maps, which Triton cannot return", fix)
    if kind != "tensor_type":
        message = f"{name} is of type {kind or 'nothing'}, Triton passes only tensors"
        return Finding("onnx.not_a_tensor", name, message, "return a tensor instead")
    element_type = value.type.tensor_type.elem_type
    if DataType.from_onnx(element_type) is None:
        message = f"Triton has no type for the elements of {name} (ONNX type {element_type})"
        return Finding("onnx.unsupported_type", name, message, "cast it inside the graph, for instance to float32")
    if not value.type.tensor_type.HasField("shape"):
        fix = "run onnx.shape_inference, or declare the shape at export"
        return Finding("onnx.unknown_rank", name, f"{name} does not say how many dimensions it has", fix)
    return None


def _dimension(dimension: Any) -> tuple[int, str]:
    """Return (size, name): -1 for a free size, which some exporters write as a number, most as a name or nothing."""
    if dimension.WhichOneof("value") == "dim_value":
        return dimension.dim_value, ""
    return -1, dimension.dim_param[:MAX_NAME_LENGTH]


def _bad_shape(name: str) -> Finding:
    message = f"{name} has a size that is 0, below -1 or above {MAX_DIMENSION}, or more than {MAX_RANK} dimensions"
    return Finding("onnx.bad_shape", name, message, "export it with its real shape, free sizes as named dimensions")


def _count_operators(model: Any) -> Counter[tuple[str, str]]:
    """Count operators in the graph, its subgraphs and functions; calls of the model's own functions are left out."""
    functions = {(_domain(function.domain), function.name) for function in model.functions}
    counts: Counter[tuple[str, str]] = Counter()
    for node in _nodes(model):
        key = (_domain(node.domain)[:MAX_NAME_LENGTH], node.op_type[:MAX_NAME_LENGTH])
        if key not in functions:
            counts[key] += 1
    return counts


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _nodes(model: Any) -> Iterator[Any]:
    pending = [model.graph.node, *(function.node for function in model.functions)]
    while pending:
        for node in pending.pop():
            yield node
            for attribute in node.attribute:
                pending += [graph.node for graph in _subgraphs(attribute)]


def _subgraphs(attribute: Any) -> list[Any]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _weights(model: Any) -> Iterator[Any]:
    """Yield every tensor in the file that could point to an external file."""
    graphs = [model.graph]
    for node in _nodes(model):
        for attribute in node.attribute:
            graphs += _subgraphs(attribute)
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for sparse in [
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                *attribute.sparse_tensors,
            ]:
                yield from (sparse.values, sparse.indices)
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def _external_data(model: Any, folder: Path, findings: list[Finding]) -> tuple[tuple[str, ...], int]:
    """Return the external files that are really there, and how many bytes of weights they hold."""
    ends: dict[str, int] = {}
    for tensor in _weights(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            location = entries.get("location", "").removeprefix("./")
            end = _whole_number(entries.get("offset", "0")) + _whole_number(entries.get("length", "0"))
            ends[location] = max(ends.get(location, 0), end)
    problems = {location: _external_problem(folder, location, end) for location, end in sorted(ends.items())}
    findings += [problem for problem in problems.values() if problem is not None]
    files = tuple(location for location, problem in problems.items() if problem is None)
    return files, sum((folder / name).stat().st_size for name in files)


def _external_problem(folder: Path, location: str, end: int) -> Finding | None:
    shown = location[:MAX_NAME_LENGTH]
    try:
        relative = safe_relative_path(location)
    except UnsafePathError as error:
        fix = "save the weights beside the model, under a plain file name"
        return Finding("onnx.external_data_escapes", shown, f"weights are asked for outside the folder: {error}", fix)
    path = folder / relative
    if any(part.is_symlink() for part in [path, *path.parents][: len(relative.parts)]):
        return Finding(
            "onnx.external_data_escapes", shown, f"{shown} is a link", "put the file itself beside the model"
        )
    if not path.is_file():
        return Finding(
            "onnx.external_data_missing", shown, f"the file {shown} with weights is missing", "upload it too"
        )
    if path.stat().st_size < end:
        return Finding("onnx.external_data_short", shown, f"{shown} ends before the weights do", "upload all of it")
    return None


def _whole_number(text: str) -> int:
    """Read an offset or length; anything else counts as one that no file can satisfy."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 1 << 63


def _custom_operators(domain: str) -> Finding:
    message = f"operators of the domain {domain!r} need a library of code that onnxruntime does not have"
    return Finding("onnx.custom_operators", domain, message, "export with standard operators only")


def _code_operator(name: str) -> Finding:
    message = f"the operator {name} runs code, or loads a file, that is not part of the graph"
    return Finding("code.operator", name, message, "export with standard operators only")


def _opset_findings(opsets: list[tuple[str, int]]) -> Iterator[Finding]:
    newest = max((version for domain, version in opsets if not domain), default=0)
    if newest > _NEWEST_OPSET:
        message = f"opset {newest} is newer than this tool knows ({_NEWEST_OPSET}); the server may not know it either"
        yield Finding("onnx.opset_too_new", "", message, "export with an older opset", Severity.WARNING)
