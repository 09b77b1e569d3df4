"""Small ONNX models for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

Dims = Sequence[int | str | None]


def tensor(name: str, dims: Dims, element_type: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, element_type, dims)


def save_model(path: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **graph: Any) -> Path:
    model = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, **graph),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="tests",
    )
    path.write_bytes(model.SerializeToString())
    return path


def save_double(path: Path, dims: Dims = ("batch", 4)) -> Path:
    """Save `y = x + x`."""
    return save_model(path, [helper.make_node("Add", ["x", "x"], ["y"])], [tensor("x", dims)], [tensor("y", dims)])


def change(path: Path, **fields: Any) -> Path:
    """Set top-level fields of a saved model."""
    model = onnx.load(path, load_external_data=False)
    for name, value in fields.items():
        setattr(model, name, value)
    path.write_bytes(model.SerializeToString())
    return path


def field(number: int, body: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
