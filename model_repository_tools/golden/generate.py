"""Inputs for models whose authors gave none: plain, small, and the same every time."""

import math
from collections.abc import Sequence

import numpy as np

from model_repository_tools.config.model_config import ModelConfig
from model_repository_tools.errors import InvalidTensorError
from model_repository_tools.tensors import Array, DataType, JsonTensor, TensorSpec, to_json_tensor

MAX_ELEMENTS = 1 << 20

_WORDS = (b"one", b"two", b"three")


def generate_inputs(
    specs: Sequence[TensorSpec], config: ModelConfig | None = None, *, seed: int = 0, free_size: int = 4
) -> tuple[JsonTensor, ...]:
    """Return a request for these inputs. The same arguments give the same request.

    Floats are normally distributed; whole numbers are 0 or 1, since they often are indices; bytes are full-range.

    Args:
        specs: As the graph has them.
        config: If given, tensors have the shapes a client of the served model sends.
        seed: Of the values.
        free_size: For every free axis but the first, which is the batch and gets 1.

    Raises:
        InvalidTensorError: A type has no JSON form, or a tensor would have more than a million elements.
    """
    random = np.random.default_rng(seed)
    scalars = {tensor.name for tensor in config.inputs if tensor.is_scalar} if config else set()
    tensors = []
    for spec in specs:
        shape = tuple(_size(size, 1 if axis == 0 else free_size) for axis, size in enumerate(spec.shape))
        if math.prod(shape) > MAX_ELEMENTS:
            raise InvalidTensorError(
                f"{spec.name!a:.100} of shape {list(shape)[:8]} is too large to make one up: give a golden sample",
                code="golden.too_large",
            )
        array = _values(spec.dtype, shape, random)
        tensors.append(to_json_tensor(spec.name, array.reshape(*shape, 1) if spec.name in scalars else array))
    return tuple(tensors)


def _size(size: int, free: int) -> int:
    return free if size == -1 else size


def _values(data_type: DataType, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if data_type is DataType.BYTES:
        words = np.array(_WORDS, dtype=object)
        return words[random.integers(0, len(_WORDS), shape)].reshape(shape)
    element = data_type.numpy
    if element.kind == "f":
        # Three digits survive JSON in every float type, so that all runtimes compute with equal bits.
        return np.round(random.standard_normal(shape), 3).astype(element)
    if data_type in {DataType.UINT8, DataType.INT8}:
        bounds = np.iinfo(element)
        return random.integers(bounds.min, bounds.max, shape, dtype=element, endpoint=True)
    return random.integers(0, 2, shape).astype(element)
