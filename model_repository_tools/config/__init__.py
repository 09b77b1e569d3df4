"""config.pbtxt: derive one from a graph, write it, read it. NVIDIA's protobuf schema is the judge."""

from model_repository_tools.config.batching import (
    ControlKind,
    DynamicBatching,
    QueuePolicy,
    SequenceBatching,
    SequenceControl,
    SequenceState,
    SequenceStrategy,
    TimeoutAction,
)
from model_repository_tools.config.check import check_config
from model_repository_tools.config.derive import derive_config
from model_repository_tools.config.ensemble import ensemble_config, pinned_parts
from model_repository_tools.config.model_config import (
    Accelerator,
    EnsembleStep,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    RateLimiter,
    Resource,
    TensorConfig,
    WarmUp,
    WarmUpInput,
)
from model_repository_tools.config.options import ServingOptions, apply_options
from model_repository_tools.config.parse import ParsedConfig, parse_config
from model_repository_tools.config.read import ImportedConfig, options_of, read_config, read_options, reconcile
from model_repository_tools.config.render import render_config

__all__ = [
    "Accelerator",
    "ControlKind",
    "DynamicBatching",
    "EnsembleStep",
    "ImportedConfig",
    "InstanceGroup",
    "InstanceKind",
    "ModelConfig",
    "ParsedConfig",
    "QueuePolicy",
    "RateLimiter",
    "Resource",
    "SequenceBatching",
    "SequenceControl",
    "SequenceState",
    "SequenceStrategy",
    "ServingOptions",
    "TensorConfig",
    "TimeoutAction",
    "WarmUp",
    "WarmUpInput",
    "apply_options",
    "check_config",
    "derive_config",
    "ensemble_config",
    "options_of",
    "parse_config",
    "pinned_parts",
    "read_config",
    "read_options",
    "reconcile",
    "render_config",
]
