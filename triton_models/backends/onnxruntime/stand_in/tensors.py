"""Moves tensors between Triton's python backend, NumPy and ONNX Runtime.

Inside the stand-in a tensor is a NumPy array: text as `str` objects, BF16, which NumPy does not know, as its raw bits.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

from .batching import Array, Tensors
from .errors import RequestError

_BF16 = "tensor(bfloat16)"
_STRING = "tensor(string)"
_ONNX_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16; the onnx package is not needed for anything else here


def read(tensor: Any, onnx_type: str) -> Array:
    """Returns the values of an input tensor.

    Raises:
        RequestError: Text is not UTF-8, which is all that ONNX's strings can hold.
    """
    if onnx_type == _BF16:
        return _read_bfloat16(tensor)
    if onnx_type == _STRING:
        return _read_text(tensor)
    values: Array = tensor.as_numpy()
    return values


def write(name: str, values: Array, onnx_type: str) -> Any:
    """Returns an output tensor with these values."""
    if onnx_type == _BF16:
        # DLPack is the only door for BF16, and the OrtValue behind it owns its memory until Triton has copied it.
        return pb_utils.Tensor.from_dlpack(name, _bfloat16(values))
    return pb_utils.Tensor(name, values)


def run(session: Any, feed: Tensors, outputs: Sequence[str]) -> Tensors:
    """Runs a session whose tensors NumPy can carry."""
    return dict(zip(outputs, session.run(list(outputs), feed), strict=True))


def run_with_bfloat16(
    session: Any, feed: Tensors, outputs: Sequence[str], *, input_types: Mapping[str, str]
) -> Tensors:
    """Runs a session that takes or gives BF16, by way of ONNX Runtime's own values."""
    values = {
        name: _bfloat16(array) if input_types[name] == _BF16 else onnxruntime.OrtValue.ortvalue_from_numpy(array)
        for name, array in feed.items()
    }
    results = session.run_with_ort_values(list(outputs), values)
    return {
        name: _bits(value) if value.data_type() == _BF16 else value.numpy()
        for name, value in zip(outputs, results, strict=True)
    }


def _read_text(tensor: Any) -> Array:
    encoded = tensor.as_numpy()
    try:
        text = [item.decode() for item in encoded.flat]
    except UnicodeDecodeError:
        raise RequestError(f"input '{tensor.name()}' holds text that is not UTF-8") from None
    return np.array(text, dtype=np.object_).reshape(encoded.shape)


def _read_bfloat16(tensor: Any) -> Array:
    if 0 in tensor.shape():
        return np.empty(tuple(tensor.shape()), dtype=np.uint16)
    return _bits(onnxruntime.OrtValue.from_dlpack(tensor.to_dlpack()))


def _bits(value: Any) -> Array:
    """Copies the raw bits out of a BF16 value."""
    bits: Array = np.empty(tuple(value.shape()), dtype=np.uint16)
    ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return bits


def _bfloat16(bits: Array) -> Any:
    """Copies raw bits into a BF16 value that owns its memory."""
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(bits.shape), _ONNX_BFLOAT16)
    ctypes.memmove(value.data_ptr(), np.ascontiguousarray(bits).ctypes.data, bits.nbytes)
    return value
