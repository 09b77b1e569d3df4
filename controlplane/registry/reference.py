"""A golden sample for a version that brought none: generated inputs, answered by ONNX Runtime here.

It proves less than a sample of the author's: that a server computes what ONNX Runtime computes, not that this is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_repository_tools.config import ModelConfig
from model_repository_tools.errors import ModelRepositoryError
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.golden import GoldenSample, Origin, reference_outputs
from model_repository_tools.inspection import OnnxInspection
from model_repository_tools.tensors import DataType, JsonTensor, TensorSpec, to_json_tensor

MAX_ELEMENTS = 1_000_000
"""Inputs larger than this are not generated: the sample is kept in the database."""
_RANDOM_OPERATORS = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
_SEED = 20_240_229


def reference_sample(
    model_path: Path, inspection: OnnxInspection, config: ModelConfig
) -> tuple[GoldenSample | None, list[Finding]]:
    """Makes a sample of origin ``reference``; None, with a warning that says why, where that is not possible.

    The same graph gives the same sample. A graph whose answers differ from run to run gets none.
    """
    try:
        # Asked of the graph, not tried: two sessions of one process draw the same numbers, two processes do not.
        if random := sorted({each.op_type for each in inspection.operators} & _RANDOM_OPERATORS):
            return None, [_none(f"its answers differ from run to run ({', '.join(random)})")]
        inputs = generated_inputs(inspection, config)
        outputs = reference_outputs(model_path, inputs, config)
        if not outputs:
            return None, [_none("none of its outputs has a JSON form")]
        return GoldenSample(inputs, outputs, origin=Origin.REFERENCE), []
    except ModelRepositoryError as error:
        return None, [_none(str(error))]


def generated_inputs(inspection: OnnxInspection, config: ModelConfig) -> tuple[JsonTensor, ...]:
    """Inputs as a client would send them: one row where the model batches, free axes of size 1, small numbers.

    Raises:
        ModelRepositoryError: an input is too large, or its type has no JSON form.
    """
    random = np.random.default_rng(_SEED)
    scalars = {tensor.name for tensor in config.inputs if tensor.is_scalar}
    return tuple(_tensor(spec, random, scalar=spec.name in scalars) for spec in inspection.inputs)


def _tensor(spec: TensorSpec, random: np.random.Generator, *, scalar: bool) -> JsonTensor:
    shape = tuple(max(size, 1) for size in spec.shape) + ((1,) if scalar else ())
    if np.prod(shape, dtype=np.float64) > MAX_ELEMENTS:
        raise ModelRepositoryError(f"input {spec.name} is too large to generate", code="golden.too_large")
    return to_json_tensor(spec.name, _values(spec.dtype, shape, random))


def _values(dtype: DataType, shape: tuple[int, ...], random: np.random.Generator) -> Any:
    if dtype is DataType.BYTES:
        return np.full(shape, b"text", dtype=object)
    if dtype.numpy.kind == "f":
        return random.uniform(-1.0, 1.0, shape).astype(dtype.numpy)
    # Whole numbers are often indices, and only 0 is an index of everything.
    return np.zeros(shape, dtype=dtype.numpy)


def _none(reason: str) -> Finding:
    return Finding(
        "golden.no_reference",
        "golden samples",
        f"no reference answer could be made ({reason}), so a publication only proves that the version loads",
        "give a golden sample with the version",
        Severity.WARNING,
    )
