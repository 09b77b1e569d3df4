"""config.pbtxt: derive one from a graph, write it, read it. NVIDIA's protobuf schema is the judge."""

from model_repository_tools.config.derive import derive_config
from model_repository_tools.config.model_config import (
    DynamicBatching,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    TensorConfig,
    WarmUp,
    WarmUpInput,
)
from model_repository_tools.config.parse import ParsedConfig, parse_config
from model_repository_tools.config.render import render_config

__all__ = [
    "DynamicBatching",
    "InstanceGroup",
    "InstanceKind",
    "ModelConfig",
    "ParsedConfig",
    "TensorConfig",
    "WarmUp",
    "WarmUpInput",
    "derive_config",
    "parse_config",
    "render_config",
]
