"""The part of Triton's model configuration that this library writes, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from model_repository_tools.tensors import DataType

DEFAULT_MAX_BATCH_SIZE = 32
DEFAULT_MODEL_FILENAME = "model.onnx"


@dataclass(frozen=True, slots=True)
class TensorConfig:
    """An input or output as config.pbtxt has it.

    Attributes:
        dims: Without the batch, where the model batches; -1 where the size is free. Never empty.
        is_scalar: The graph has no dimension beside the batch; a client sees one of size 1.
    """

    name: str
    dtype: DataType
    dims: tuple[int, ...]
    is_scalar: bool = False


@dataclass(frozen=True, slots=True)
class DynamicBatching:
    """Run waiting requests together.

    Attributes:
        preferred_batch_sizes: Sizes that are run at once when reached; mostly best left empty.
        max_queue_delay_us: How long a request may wait for company. 0 adds no latency, and still batches what queues
            up while the model is busy.
    """

    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_us: int = 0


class InstanceKind(StrEnum):
    """Where instances run; `AUTO` takes the GPUs there are, else the CPU."""

    AUTO = "KIND_AUTO"
    CPU = "KIND_CPU"
    GPU = "KIND_GPU"


@dataclass(frozen=True, slots=True)
class InstanceGroup:
    """`count` copies of the model: on each GPU in `gpus` (all, if empty), or on the CPU together."""

    kind: InstanceKind = InstanceKind.AUTO
    count: int = 1
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class WarmUpInput:
    """One input of a warm-up request; `data_file` lies in the model's `warmup/` folder, as raw bytes of one row."""

    name: str
    dtype: DataType
    dims: tuple[int, ...]
    data_file: str


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A request that Triton sends itself before it calls the version READY."""

    name: str
    inputs: tuple[WarmUpInput, ...]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a config.pbtxt says.

    Attributes:
        name: The model's folder in the repository, `digits.v3`.
        version_number: The only version that is served, `3`. Without it Triton would serve the highest it finds.
        max_batch_size: 0 if the model does not batch; then `dims` are the whole shapes.
        dynamic_batching: None runs each request alone.
        instance_groups: Empty leaves the choice to Triton.
        parameters: Passed to the backend.
    """

    name: str
    version_number: int
    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    backend: str = "onnxruntime"
    max_batch_size: int = 0
    dynamic_batching: DynamicBatching | None = None
    instance_groups: tuple[InstanceGroup, ...] = ()
    default_model_filename: str = DEFAULT_MODEL_FILENAME
    warm_ups: tuple[WarmUp, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
