"""Does a model's configuration say the same as its ONNX graph?

Source: `ValidateInputs`, `ValidateOutputs` and `CompareDimsSupported` of NVIDIA's onnxruntime_backend. What is accepted
here loads there too, so a repository can move to NVIDIA's containers as it is; BF16 is the one thing taken in addition.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ModelLoadError

ONNX_TYPES: Mapping[str, str] = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_BF16": "tensor(bfloat16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_STRING": "tensor(string)",
}
_VARIABLE = -1


@dataclass(frozen=True)
class GraphTensor:
    """One input or output of the graph. A dimension of -1 is variable; no dimensions at all mean a scalar."""

    name: str
    onnx_type: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, node: Any) -> "GraphTensor":
        """Reads ONNX Runtime's description, in which variable dimensions are names or None."""
        shape = tuple(dim if isinstance(dim, int) else _VARIABLE for dim in node.shape or ())
        return cls(name=node.name, onnx_type=node.type, shape=shape)


@dataclass(frozen=True)
class Signature:
    """The tensors that a model takes and gives, as agreed by configuration and graph.

    `scalars` maps a tensor that has no dimensions in the graph to the dimensions the configuration gives it.
    """

    max_batch_size: int
    input_types: Mapping[str, str]
    output_types: Mapping[str, str]
    scalars: Mapping[str, tuple[int, ...]]

    @property
    def uses_bfloat16(self) -> bool:
        """True if ONNX Runtime's NumPy interface cannot carry all tensors of this model."""
        return "tensor(bfloat16)" in {*self.input_types.values(), *self.output_types.values()}


def agree(
    config: Mapping[str, Any],
    *,
    inputs: Sequence[GraphTensor],
    outputs: Sequence[GraphTensor],
    overridable: Sequence[GraphTensor],
) -> Signature:
    """Returns the signature that configuration and graph agree on.

    Raises:
        ModelLoadError: They differ, or the configuration asks for what the stand-in does not do.
    """
    _refuse_unsupported(config)
    max_batch_size = int(config.get("max_batch_size", 0))
    configured_inputs = [*config.get("input", []), *_sequence_controls(config)]
    graph_inputs = {tensor.name: tensor for tensor in (*inputs, *overridable)}
    graph_outputs = {tensor.name: tensor for tensor in outputs}
    _check_all_inputs_are_configured(configured_inputs, required=[tensor.name for tensor in inputs])
    for entry in configured_inputs:
        _check("input", entry, graph_inputs, max_batch_size=max_batch_size)
    for entry in config["output"]:
        _check("output", entry, graph_outputs, max_batch_size=max_batch_size)
    entries = [*configured_inputs, *config["output"]]
    graph = {**graph_inputs, **graph_outputs}
    signature = Signature(
        max_batch_size=max_batch_size,
        input_types={entry["name"]: graph_inputs[entry["name"]].onnx_type for entry in configured_inputs},
        output_types={entry["name"]: graph_outputs[entry["name"]].onnx_type for entry in config["output"]},
        scalars={entry["name"]: _dims(entry) for entry in entries if not graph[entry["name"]].shape},
    )
    if signature.uses_bfloat16 and "tensor(string)" in signature.input_types.values():
        # ONNX Runtime's Python interface has no value that holds text, and NumPy none that holds BF16.
        raise ModelLoadError("the stand-in takes no text inputs beside BF16 tensors: use the native backend")
    return signature


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    if config.get("sequence_batching", {}).get("state"):
        raise ModelLoadError("the stand-in keeps no implicit state (sequence_batching.state): use the native backend")
    if config.get("batch_input") or config.get("batch_output"):
        raise ModelLoadError("the stand-in knows no batch_input and batch_output: use the native backend")
    for entry in config.get("input", []):
        if entry.get("allow_ragged_batch"):
            raise ModelLoadError(f"the stand-in knows no ragged batches (input '{entry['name']}')")
        if entry.get("optional") and int(config.get("max_batch_size", 0)) > 0:
            raise ModelLoadError(
                f"optional input '{entry['name']}' is not supported for models that support batching: "
                "set max_batch_size to 0"
            )


def _sequence_controls(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The inputs that Triton adds to every request of a sequence; each has the dimensions [1]."""
    return [
        {"name": control_input["name"], "data_type": _control_type(control), "dims": [1]}
        for control_input in config.get("sequence_batching", {}).get("control_input", [])
        for control in control_input.get("control", [])
    ]


def _control_type(control: Mapping[str, Any]) -> str:
    by_pair = {
        "int32_false_true": "TYPE_INT32",
        "fp32_false_true": "TYPE_FP32",
        "bool_false_true": "TYPE_BOOL",
    }
    pairs = [data_type for field, data_type in by_pair.items() if control.get(field)]
    return pairs[0] if pairs else str(control.get("data_type", "TYPE_INVALID"))


def _check_all_inputs_are_configured(entries: Iterable[Mapping[str, Any]], *, required: Sequence[str]) -> None:
    configured = {entry["name"] for entry in entries}
    missing = [name for name in required if name not in configured]
    if missing:
        raise ModelLoadError(f"the ONNX graph needs input {_quoted(missing)}, which the configuration does not name")


def _check(role: str, entry: Mapping[str, Any], graph: Mapping[str, GraphTensor], *, max_batch_size: int) -> None:
    name, data_type = entry["name"], entry["data_type"]
    tensor = graph.get(name)
    if tensor is None:
        raise ModelLoadError(
            f"unexpected inference {role} '{name}', the ONNX graph has the {role}s {_quoted(sorted(graph))}"
        )
    if ONNX_TYPES.get(data_type) != tensor.onnx_type:
        raise ModelLoadError(
            f"configuration expects datatype {data_type} for {role} '{name}', "
            f"the ONNX graph provides {_triton_type(tensor.onnx_type)}"
        )
    _check_dims(tensor, _dims(entry), max_batch_size=max_batch_size, exactly=role == "output")


def _check_dims(tensor: GraphTensor, dims: tuple[int, ...], *, max_batch_size: int, exactly: bool) -> None:
    where = f"tensor '{tensor.name}'"
    if max_batch_size > 0:
        if not tensor.shape or tensor.shape[0] != _VARIABLE:
            raise ModelLoadError(
                f"{where}: for the model to support batching the shape should have at least 1 dimension and the first "
                f"dimension must be -1; but the ONNX graph has {list(tensor.shape)}: set max_batch_size to 0"
            )
        dims = (_VARIABLE, *dims)
    elif not tensor.shape:
        if any(dim != 1 for dim in dims):
            raise ModelLoadError(f"scalar {where} must have only dimensions of 1, the configuration has {list(dims)}")
        return
    if not _same_dims(tensor.shape, dims, exactly=exactly):
        raise ModelLoadError(
            f"{where}: the ONNX graph expects {len(tensor.shape)} dimensions (shape {list(tensor.shape)}) "
            f"but the model configuration specifies {len(dims)} dimensions (shape {list(dims)})"
        )


def _same_dims(graph: Sequence[int], config: Sequence[int], *, exactly: bool) -> bool:
    if len(graph) != len(config):
        return False
    pairs = zip(graph, config, strict=True)
    return all(one == other or (not exactly and _VARIABLE in (one, other)) for one, other in pairs)


def _dims(entry: Mapping[str, Any]) -> tuple[int, ...]:
    """The dimensions as the graph sees them: Triton reshapes on the way in and on the way out."""
    reshape = entry.get("reshape")
    return tuple(int(dim) for dim in (entry["dims"] if reshape is None else reshape.get("shape", [])))


def _triton_type(onnx_type: str) -> str:
    return {onnx: triton for triton, onnx in ONNX_TYPES.items()}.get(onnx_type, f"the unsupported type {onnx_type}")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
