"""Small ONNX graphs and the model configurations for them."""

from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto, TensorProto, helper

# Old enough for every onnxruntime that Triton's environment may hold.
_OPSET = 17
_IR_VERSION = 8

ONNX_TYPES: Mapping[str, int] = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "STRING": TensorProto.STRING,
}

Shape = Sequence[int | str]
Tensors = Mapping[str, tuple[str, Shape]]


def graph(nodes: Sequence[NodeProto], *, inputs: Tensors, outputs: Tensors, opset: int = _OPSET) -> bytes:
    """Builds a model file; tensors are given as `{name: (type, shape)}` with Triton's type names."""
    body = helper.make_graph(list(nodes), "graph", _value_infos(inputs), _value_infos(outputs))
    model: ModelProto = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


def identity(data_type: str = "FP32", shape: Shape = ("N", 2)) -> bytes:
    """A graph that gives back what it gets: X -> Y."""
    tensor = (data_type, shape)
    return graph([helper.make_node("Identity", ["X"], ["Y"])], inputs={"X": tensor}, outputs={"Y": tensor})


def gather() -> bytes:
    """Looks up rows of the constant table [10, 11, 12]: an index outside of it fails the run. INDEX -> VALUE."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [3], [10.0, 11.0, 12.0])
    nodes = [
        helper.make_node("Constant", [], ["T"], value=table),
        helper.make_node("Gather", ["T", "INDEX"], ["VALUE"]),
    ]
    return graph(nodes, inputs={"INDEX": ("INT64", ["N", 1])}, outputs={"VALUE": ("FP32", ["N", 1])})


def config(
    *,
    inputs: Mapping[str, tuple[str, Sequence[int]]],
    outputs: Mapping[str, tuple[str, Sequence[int]]],
    max_batch_size: int = 0,
    more: str = "",
    backend: str = 'backend: "onnxruntime"',
) -> str:
    """Writes a config.pbtxt with one CPU instance (Triton's own default of two doubles the time of every test)."""
    lines = [
        backend,
        f"max_batch_size: {max_batch_size}",
        *(f"input [{{ {_tensor(name, *tensor)} }}]" for name, tensor in inputs.items()),
        *(f"output [{{ {_tensor(name, *tensor)} }}]" for name, tensor in outputs.items()),
        "instance_group [{ kind: KIND_CPU count: 1 }]",
        more,
    ]
    return "\n".join(lines)


def identity_config(
    data_type: str = "FP32", dims: Sequence[int] = (2,), *, max_batch_size: int = 8, more: str = ""
) -> str:
    """The configuration for `identity`."""
    tensor = (data_type, dims)
    return config(inputs={"X": tensor}, outputs={"Y": tensor}, max_batch_size=max_batch_size, more=more)


def _tensor(name: str, data_type: str, dims: Sequence[int]) -> str:
    return f'name: "{name}" data_type: TYPE_{data_type} dims: [{", ".join(map(str, dims))}]'


def _value_infos(tensors: Tensors) -> list[object]:
    return [
        helper.make_tensor_value_info(name, ONNX_TYPES[data_type], list(shape))
        for name, (data_type, shape) in tensors.items()
    ]
