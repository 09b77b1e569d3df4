"""Writing config.pbtxt."""

from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from model_repository_tools.config.model_config import ModelConfig, TensorConfig, WarmUp


def render_config(config: ModelConfig) -> str:
    """Return the text of config.pbtxt. Equal configurations give equal bytes.

    The text comes out of NVIDIA's own protobuf schema, so it is never malformed.
    Source: `model_config.proto` in triton-inference-server/common.
    """
    message = model_config_pb2.ModelConfig(
        name=config.name,
        backend=config.backend,
        max_batch_size=config.max_batch_size,
        default_model_filename=config.default_model_filename,
    )
    message.version_policy.specific.versions.append(config.version_number)
    for tensor in config.inputs:
        _fill_tensor(message.input.add(), tensor)
    for tensor in config.outputs:
        _fill_tensor(message.output.add(), tensor)
    if config.dynamic_batching is not None:
        message.dynamic_batching.preferred_batch_size.extend(config.dynamic_batching.preferred_batch_sizes)
        message.dynamic_batching.max_queue_delay_microseconds = config.dynamic_batching.max_queue_delay_us
    for group in config.instance_groups:
        message.instance_group.add(kind=group.kind.value, count=group.count, gpus=group.gpus)
    for warm_up in config.warm_ups:
        _fill_warm_up(message.model_warmup.add(), warm_up)
    for key in sorted(config.parameters):
        message.parameters[key].string_value = config.parameters[key]
    return str(text_format.MessageToString(message))


def _fill_tensor(message: Any, tensor: TensorConfig) -> None:
    message.name = tensor.name
    message.data_type = tensor.dtype.config_name
    message.dims.extend(tensor.dims)
    if tensor.is_scalar:
        message.reshape.SetInParent()


def _fill_warm_up(message: Any, warm_up: WarmUp) -> None:
    message.name = warm_up.name
    message.batch_size = 1
    for tensor in warm_up.inputs:
        entry = message.inputs[tensor.name]
        entry.data_type = tensor.dtype.config_name
        entry.dims.extend(tensor.dims)
        entry.input_data_file = tensor.data_file
