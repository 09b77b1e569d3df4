"""Writing config.pbtxt."""

from collections.abc import Iterable
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from model_repository_tools.config.batching import (
    ControlKind,
    DynamicBatching,
    QueuePolicy,
    SequenceBatching,
    SequenceStrategy,
)
from model_repository_tools.config.model_config import (
    Accelerator,
    EnsembleStep,
    InstanceGroup,
    ModelConfig,
    TensorConfig,
    WarmUp,
)
from model_repository_tools.tensors import DataType

ENSEMBLE_PLATFORM = "ensemble"
_FLAG_FIELDS = {
    DataType.INT32: "int32_false_true",
    DataType.FP32: "fp32_false_true",
    DataType.BOOL: "bool_false_true",
}


def render_config(config: ModelConfig) -> str:
    """Return the text of config.pbtxt. Equal configurations give equal bytes.

    The text comes out of NVIDIA's own protobuf schema, so it is never malformed; whether its parts fit together is for
    `check_config` to say.
    Source: `model_config.proto` in triton-inference-server/common.

    Raises:
        ValueError: A number does not fit the schema.
    """
    message = model_config_pb2.ModelConfig(
        name=config.name,
        backend=config.backend,
        max_batch_size=config.max_batch_size,
        default_model_filename=config.default_model_filename,
    )
    message.version_policy.specific.versions.append(config.version_number)
    for tensor in config.inputs:
        _fill_tensor(message.input.add(optional=tensor.is_optional), tensor)
    for tensor in config.outputs:
        _fill_tensor(message.output.add(), tensor)
    if config.dynamic_batching is not None:
        _fill_dynamic_batching(message.dynamic_batching, config.dynamic_batching)
    if config.sequence_batching is not None:
        _fill_sequence_batching(message.sequence_batching, config.sequence_batching)
    if config.ensemble_steps:
        message.platform = ENSEMBLE_PLATFORM
        for step in config.ensemble_steps:
            _fill_step(message.ensemble_scheduling.step.add(), step)
    for group in config.instance_groups:
        _fill_group(message.instance_group.add(), group)
    for warm_up in config.warm_ups:
        _fill_warm_up(message.model_warmup.add(), warm_up)
    for key in sorted(config.parameters):
        message.parameters[key].string_value = config.parameters[key]
    _fill_accelerators(message, config)
    if config.response_cache:
        message.response_cache.enable = True
    if config.is_decoupled:
        message.model_transaction_policy.decoupled = True
    return str(text_format.MessageToString(message))


def _fill_tensor(message: Any, tensor: TensorConfig) -> None:
    message.name = tensor.name
    message.data_type = tensor.dtype.config_name
    message.dims.extend(tensor.dims)
    if tensor.is_scalar:
        message.reshape.SetInParent()


def _fill_dynamic_batching(message: Any, batching: DynamicBatching) -> None:
    message.SetInParent()
    message.preferred_batch_size.extend(batching.preferred_batch_sizes)
    message.max_queue_delay_microseconds = batching.max_queue_delay_us
    message.preserve_ordering = batching.preserve_ordering
    message.priority_levels = batching.priority_levels
    message.default_priority_level = batching.default_priority_level
    if batching.queue_policy is not None:
        _fill_queue_policy(message.default_queue_policy, batching.queue_policy)
    for level in sorted(batching.priority_queue_policies):
        _fill_queue_policy(message.priority_queue_policy[level], batching.priority_queue_policies[level])


def _fill_queue_policy(message: Any, policy: QueuePolicy) -> None:
    message.SetInParent()
    message.timeout_action = policy.timeout_action.value
    message.default_timeout_microseconds = policy.default_timeout_us
    message.allow_timeout_override = policy.allow_timeout_override
    message.max_queue_size = policy.max_queue_size


def _fill_sequence_batching(message: Any, batching: SequenceBatching) -> None:
    message.max_sequence_idle_microseconds = batching.max_sequence_idle_us
    if batching.strategy is SequenceStrategy.DIRECT:
        message.direct.max_queue_delay_microseconds = batching.max_queue_delay_us
        message.direct.minimum_slot_utilization = batching.minimum_slot_utilization
        message.direct.SetInParent()
    else:
        message.oldest.max_candidate_sequences = batching.max_candidate_sequences
        message.oldest.preferred_batch_size.extend(batching.preferred_batch_sizes)
        message.oldest.max_queue_delay_microseconds = batching.max_queue_delay_us
        message.oldest.SetInParent()
    for control in batching.controls:
        entry = message.control_input.add(name=control.name).control.add(kind=control.kind.value)
        if control.kind is ControlKind.CORRELATION_ID:
            entry.data_type = control.dtype.config_name
        else:
            getattr(entry, _FLAG_FIELDS[control.dtype]).extend((0, 1))
    for state in batching.states:
        entry = message.state.add(input_name=state.input_name, output_name=state.output_name, dims=state.dims)
        entry.data_type = state.dtype.config_name


def _fill_step(message: Any, step: EnsembleStep) -> None:
    message.model_name = step.model_name
    message.model_version = step.model_version
    for key in sorted(step.input_map):
        message.input_map[key] = step.input_map[key]
    for key in sorted(step.output_map):
        message.output_map[key] = step.output_map[key]


def _fill_group(message: Any, group: InstanceGroup) -> None:
    message.kind = group.kind.value
    message.count = group.count
    message.gpus.extend(group.gpus)
    message.profile.extend(group.profiles)
    if group.rate_limiter is not None:
        message.rate_limiter.priority = group.rate_limiter.priority
        for resource in group.rate_limiter.resources:
            entry = message.rate_limiter.resources.add(name=resource.name, count=resource.count)
            setattr(entry, "global", resource.is_global)


def _fill_warm_up(message: Any, warm_up: WarmUp) -> None:
    message.name = warm_up.name
    message.batch_size = 1
    for tensor in warm_up.inputs:
        entry = message.inputs[tensor.name]
        entry.data_type = tensor.dtype.config_name
        entry.dims.extend(tensor.dims)
        entry.input_data_file = tensor.data_file


def _fill_accelerators(message: Any, config: ModelConfig) -> None:
    if config.gpu_accelerators:
        _add_accelerators(
            message.optimization.execution_accelerators.gpu_execution_accelerator, config.gpu_accelerators
        )
    if config.cpu_accelerators:
        _add_accelerators(
            message.optimization.execution_accelerators.cpu_execution_accelerator, config.cpu_accelerators
        )


def _add_accelerators(field: Any, accelerators: Iterable[Accelerator]) -> None:
    for accelerator in accelerators:
        entry = field.add(name=accelerator.name)
        for key in sorted(accelerator.parameters):
            entry.parameters[key] = accelerator.parameters[key]
