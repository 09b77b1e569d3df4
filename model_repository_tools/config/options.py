"""What an operator chooses beside what the graph dictates."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from model_repository_tools.config.batching import DynamicBatching, SequenceBatching
from model_repository_tools.config.model_config import Accelerator, InstanceGroup, ModelConfig, TensorConfig, WarmUp


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """Choices that are laid over a configuration. None leaves what is there.

    Attributes:
        max_batch_size: Can only lower the batch: what the graph can do is not for an operator to say.
        parameters: Added to those that are there.
    """

    max_batch_size: int | None = None
    dynamic_batching: DynamicBatching | None = None
    sequence_batching: SequenceBatching | None = None
    instance_groups: tuple[InstanceGroup, ...] | None = None
    warm_ups: tuple[WarmUp, ...] | None = None
    gpu_accelerators: tuple[Accelerator, ...] | None = None
    cpu_accelerators: tuple[Accelerator, ...] | None = None
    response_cache: bool | None = None
    is_decoupled: bool | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


def apply_options(config: ModelConfig, options: ServingOptions) -> ModelConfig:
    """Return `config` with the operator's choices. Ask `check_config` whether they fit together.

    Sequence batching takes the place of a dynamic batching that was only derived. A batch of 0 ends batching: shapes
    are whole again, their first axis free.
    """
    chosen: dict[str, Any] = {
        item.name: value for item in fields(options) if (value := getattr(options, item.name)) is not None
    }
    chosen["parameters"] = {**config.parameters, **options.parameters}
    if options.max_batch_size is not None:
        chosen["max_batch_size"] = min(options.max_batch_size, config.max_batch_size)
    if options.dynamic_batching is None and (options.sequence_batching or chosen.get("max_batch_size") == 0):
        chosen["dynamic_batching"] = None
    if config.max_batch_size and chosen.get("max_batch_size") == 0:
        chosen["inputs"] = tuple(_whole(tensor) for tensor in config.inputs)
        chosen["outputs"] = tuple(_whole(tensor) for tensor in config.outputs)
    return replace(config, **chosen)


def _whole(tensor: TensorConfig) -> TensorConfig:
    return replace(tensor, dims=(-1, *(() if tensor.is_scalar else tensor.dims)), is_scalar=False)
