"""From a graph's inputs and outputs to a configuration."""

from collections.abc import Mapping, Sequence

from model_repository_tools.config.batching import DynamicBatching
from model_repository_tools.config.model_config import (
    DEFAULT_MAX_BATCH_SIZE,
    DEFAULT_MODEL_FILENAME,
    InstanceGroup,
    ModelConfig,
    TensorConfig,
)
from model_repository_tools.errors import NotServableError
from model_repository_tools.findings import Severity, has_errors
from model_repository_tools.inspection.result import OnnxInspection
from model_repository_tools.paths import safe_triton_name
from model_repository_tools.tensors import TensorSpec


def derive_config(
    inspection: OnnxInspection,
    triton_name: str,
    version_number: int,
    *,
    max_batch_size: int = DEFAULT_MAX_BATCH_SIZE,
    dynamic_batching: DynamicBatching | None = None,
    instance_groups: Sequence[InstanceGroup] = (),
    default_model_filename: str = DEFAULT_MODEL_FILENAME,
    parameters: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Return the configuration that serves this graph.

    If the first axis of every input and output is free, it is the batch: Triton gets `max_batch_size`, shapes without
    it, and dynamic batching. Otherwise the model does not batch and keeps its whole shapes.

    Args:
        inspection: Of the model's file.
        triton_name: The model's folder in the repository, `digits.v3`.
        version_number: The version's folder, `3`.
        max_batch_size: For a graph that can batch; 0 forbids it.
        dynamic_batching: Default: batch what is queued, wait for nothing.
        instance_groups: Default: Triton decides.
        default_model_filename: The file in the version's folder.
        parameters: Passed to the backend.

    Raises:
        NotServableError: The inspection has errors, or a scalar cannot be expressed.
        UnsafePathError: `triton_name` cannot be a folder in a repository.
    """
    if has_errors(inspection.findings):
        first = next(finding for finding in inspection.findings if finding.severity is Severity.ERROR)
        raise NotServableError(first.message, code=first.code)
    batches = max_batch_size > 0 and can_batch(inspection)
    convert = _batched if batches else _whole
    return ModelConfig(
        name=safe_triton_name(triton_name),
        version_number=version_number,
        inputs=tuple(convert(spec) for spec in inspection.inputs),
        outputs=tuple(convert(spec) for spec in inspection.outputs),
        max_batch_size=max_batch_size if batches else 0,
        dynamic_batching=(dynamic_batching or DynamicBatching()) if batches else None,
        instance_groups=tuple(instance_groups),
        default_model_filename=default_model_filename,
        parameters=dict(parameters or {}),
    )


def can_batch(inspection: OnnxInspection) -> bool:
    """Tell whether the first axis of every input and output is free, and not of different names among the inputs."""
    tensors = (*inspection.inputs, *inspection.outputs)
    names = {spec.axes[0] for spec in inspection.inputs if spec.axes and spec.axes[0]}
    return bool(inspection.inputs) and all(spec.shape[:1] == (-1,) for spec in tensors) and len(names) <= 1


def _batched(spec: TensorSpec) -> TensorConfig:
    dims = spec.shape[1:]
    # Triton allows no empty dims: a row that is one number is declared [1] and reshaped to [] for the graph.
    return TensorConfig(spec.name, spec.dtype, dims or (1,), is_scalar=not dims)


def _whole(spec: TensorSpec) -> TensorConfig:
    if not spec.shape:
        raise NotServableError(
            f"{spec.name} is a scalar, which Triton cannot pass to a model that does not batch; "
            "export it with shape [1], or give all inputs and outputs a free first axis",
            code="config.scalar",
        )
    return TensorConfig(spec.name, spec.dtype, spec.shape)
