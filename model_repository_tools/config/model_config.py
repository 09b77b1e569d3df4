"""The part of Triton's model configuration that this library writes, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from model_repository_tools.config.batching import DynamicBatching, SequenceBatching
from model_repository_tools.tensors import DataType

DEFAULT_MAX_BATCH_SIZE = 32
DEFAULT_MODEL_FILENAME = "model.onnx"
DEFAULT_BACKEND = "onnxruntime"


@dataclass(frozen=True, slots=True)
class TensorConfig:
    """An input or output as config.pbtxt has it.

    Attributes:
        dims: Without the batch, where the model batches; -1 where the size is free. Never empty.
        is_scalar: The graph has no dimension beside the batch; a client sees one of size 1.
        is_optional: A request may leave this input out.
    """

    name: str
    dtype: DataType
    dims: tuple[int, ...]
    is_scalar: bool = False
    is_optional: bool = False


class InstanceKind(StrEnum):
    """Where instances run; `AUTO` takes the GPUs there are, else the CPU; `MODEL` leaves it to the backend."""

    AUTO = "KIND_AUTO"
    CPU = "KIND_CPU"
    GPU = "KIND_GPU"
    MODEL = "KIND_MODEL"


@dataclass(frozen=True, slots=True)
class Resource:
    """So many units of a named resource; `is_global` ones are shared by all devices of a server."""

    name: str
    count: int
    is_global: bool = False


@dataclass(frozen=True, slots=True)
class RateLimiter:
    """What an instance must get hold of before it runs. `priority` 1 is the most urgent; 0 takes Triton's default."""

    resources: tuple[Resource, ...] = ()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class InstanceGroup:
    """`count` copies of the model: on each GPU in `gpus` (all, if empty), or on the CPU together.

    Attributes:
        profiles: TensorRT optimization profiles that the instances use.
    """

    kind: InstanceKind = InstanceKind.AUTO
    count: int = 1
    gpus: tuple[int, ...] = ()
    rate_limiter: RateLimiter | None = None
    profiles: tuple[str, ...] = ()


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
class EnsembleStep:
    """One model of an ensemble.

    Attributes:
        model_name: The part's folder in the repository, `tokenizer.v2`.
        model_version: Its version folder. Never "the newest": an ensemble that was proven stays what it was.
        input_map: The part's input -> tensor of the ensemble.
        output_map: The part's output -> tensor of the ensemble.
    """

    model_name: str
    model_version: int
    input_map: Mapping[str, str]
    output_map: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What a backend may hand parts of the graph to: `tensorrt` on a GPU, `openvino` on a CPU."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a config.pbtxt says.

    Attributes:
        name: The model's folder in the repository, `digits.v3`.
        version_number: The only version that is served, `3`. Without it Triton would serve the highest it finds.
        backend: "" for an ensemble, which has `ensemble_steps` instead.
        max_batch_size: 0 if the model does not batch; then `dims` are the whole shapes.
        dynamic_batching: None runs each request alone.
        instance_groups: Empty leaves the choice to Triton.
        parameters: Passed to the backend.
        is_decoupled: A request may have any number of answers, also none.
    """

    name: str
    version_number: int
    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    backend: str = DEFAULT_BACKEND
    max_batch_size: int = 0
    dynamic_batching: DynamicBatching | None = None
    instance_groups: tuple[InstanceGroup, ...] = ()
    default_model_filename: str = DEFAULT_MODEL_FILENAME
    warm_ups: tuple[WarmUp, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    sequence_batching: SequenceBatching | None = None
    ensemble_steps: tuple[EnsembleStep, ...] = ()
    gpu_accelerators: tuple[Accelerator, ...] = ()
    cpu_accelerators: tuple[Accelerator, ...] = ()
    response_cache: bool = False
    is_decoupled: bool = False
