"""Reading an imported config.pbtxt as data: into values, of which a new text is written. Nothing of it is copied."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from model_repository_tools.config.allowed import PLATFORMS, check_backend, check_fields, check_parameters
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
from model_repository_tools.config.model_config import (
    DEFAULT_MODEL_FILENAME,
    Accelerator,
    EnsembleStep,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    RateLimiter,
    Resource,
    TensorConfig,
)
from model_repository_tools.config.options import ServingOptions, apply_options
from model_repository_tools.config.parse import parse_config
from model_repository_tools.config.render import ENSEMBLE_PLATFORM
from model_repository_tools.findings import Finding
from model_repository_tools.tensors import DataType

_FILENAMES = {"onnxruntime": DEFAULT_MODEL_FILENAME, "tensorrt": "model.plan", "python": "model.py"}
_TYPES = {data_type.config_name: data_type for data_type in DataType}
_OPTION_FIELDS = {
    "max_batch_size": ("max_batch_size",),
    "dynamic_batching": ("dynamic_batching",),
    "sequence_batching": ("sequence_batching",),
    "instance_groups": ("instance_group",),
    "gpu_accelerators": ("optimization",),
    "cpu_accelerators": ("optimization",),
    "response_cache": ("response_cache",),
    "is_decoupled": ("model_transaction_policy",),
}


@dataclass(frozen=True, slots=True)
class ImportedConfig:
    """`config` is None where the text is not one, or speaks of types that do not exist."""

    config: ModelConfig | None
    findings: tuple[Finding, ...] = ()


def read_config(
    text: str, triton_name: str, version_number: int, *, files: Collection[str] | None = None
) -> ImportedConfig:
    """Read a config.pbtxt from a stranger.

    Its name and version policy are replaced. Fields that are not known to be harmless, paths that leave the version,
    and everything that makes the server run code come back as findings, as do contradictions.

    Args:
        text: The whole file.
        triton_name: The model's folder in the repository.
        version_number: The version's folder.
        files: If given, the files of the version: the one that the configuration names must be among them.
    """
    parsed = parse_config(text)
    if parsed.message is None:
        return ImportedConfig(None, parsed.findings)
    findings = [*check_fields(parsed.message), *_check_reshapes(parsed.message)]
    try:
        config = _read(parsed.message, triton_name, version_number)
    except _UnknownTypeError as error:
        fix = f"use one of {', '.join(_TYPES)}"
        return ImportedConfig(None, (*findings, Finding("config.data_type", error.path, str(error), fix)))
    if not config.ensemble_steps:
        findings += check_backend(config.backend)
        if files is not None and config.default_model_filename not in files:
            message = f"the version holds no file {config.default_model_filename!a:.100}"
            findings.append(Finding("config.model_missing", "default_model_filename", message, "name the model's file"))
    findings += [*_check_parameters(config), *check_config(config)]
    return ImportedConfig(config, tuple(dict.fromkeys(findings)))


def reconcile(derived: ModelConfig, imported: ModelConfig) -> tuple[ModelConfig, list[Finding]]:
    """Lay an imported configuration's choices over what the graph dictates.

    Inputs and outputs are the graph's; where the imported ones differ, that is a finding.
    """
    findings = []
    if imported.max_batch_size and not derived.max_batch_size:
        message = "the graph has a fixed first axis, and cannot batch"
        findings.append(Finding("config.cannot_batch", "max_batch_size", message, "export it with a free first axis"))
    else:
        derived = apply_options(derived, ServingOptions(max_batch_size=imported.max_batch_size))
        findings += _compare("input", derived.inputs, imported.inputs)
        findings += _compare("output", derived.outputs, imported.outputs)
    return apply_options(derived, options_of(imported)), findings


def read_options(text: str) -> tuple[ServingOptions | None, tuple[Finding, ...]]:
    """Read a fragment of a config.pbtxt as choices: what it does not mention stays as it is.

    Inputs and outputs in it are ignored: the graph has them. Whether the choices fit is for `check_config` to say,
    when they are laid over a configuration.
    """
    parsed = parse_config(text)
    message = parsed.message
    if message is None:
        return None, parsed.findings
    findings = [finding for finding in check_fields(message) if not finding.path.startswith(("input", "output"))]
    for field in ("input", "output"):
        message.ClearField(field)
    try:
        config = _read(message, "options", 1)
    except _UnknownTypeError as error:
        return None, (*findings, Finding("config.data_type", error.path, str(error)))
    mentioned = {field.name for field, _ in message.ListFields()}
    unmentioned: dict[str, Any] = {
        name: None for name, fields in _OPTION_FIELDS.items() if not mentioned.intersection(fields)
    }
    return replace(options_of(config), **unmentioned), (*findings, *_check_parameters(config))


def options_of(config: ModelConfig) -> ServingOptions:
    """Return the choices in a configuration, without what the graph dictates."""
    return ServingOptions(
        max_batch_size=config.max_batch_size,
        dynamic_batching=config.dynamic_batching,
        sequence_batching=config.sequence_batching,
        instance_groups=config.instance_groups,
        warm_ups=config.warm_ups or None,
        gpu_accelerators=config.gpu_accelerators,
        cpu_accelerators=config.cpu_accelerators,
        response_cache=config.response_cache,
        is_decoupled=config.is_decoupled,
        parameters=config.parameters,
    )


class _UnknownTypeError(Exception):
    def __init__(self, path: str) -> None:
        super().__init__("it has a data type that this tool does not know")
        self.path = path


def _compare(role: str, derived: tuple[TensorConfig, ...], imported: tuple[TensorConfig, ...]) -> Iterator[Finding]:
    fix = "leave inputs and outputs out, or correct them"
    by_name = {tensor.name: tensor for tensor in derived}
    for tensor in imported:
        own = by_name.pop(tensor.name, None)
        if own is None:
            message = f"the graph has no {role} {tensor.name!a:.100}"
            yield Finding("config.io_differs", role, message, fix)
        elif own.dtype is not tensor.dtype or not _fits(own.dims, tensor.dims):
            message = (
                f"{tensor.name!a:.100} is {tensor.dtype.value}{list(tensor.dims)[:8]}, "
                f"the graph has {own.dtype.value}{list(own.dims)[:8]}"
            )
            yield Finding("config.io_differs", role, message, fix)
    if imported:
        for name in by_name:
            yield Finding("config.io_differs", role, f"the graph's {role} {name!a:.100} is missing", fix)


def _fits(own: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(own) == len(other) and all(a == b or -1 in {a, b} for a, b in zip(own, other, strict=True))


def _read(message: Any, triton_name: str, version_number: int) -> ModelConfig:
    is_ensemble = message.platform == ENSEMBLE_PLATFORM or message.HasField("ensemble_scheduling")
    backend = message.backend or PLATFORMS.get(message.platform, message.platform)
    accelerators = message.optimization.execution_accelerators
    config = ModelConfig(
        name=triton_name,
        version_number=version_number,
        inputs=tuple(_tensor(entry, f"input[{index}]") for index, entry in enumerate(message.input)),
        outputs=tuple(_tensor(entry, f"output[{index}]") for index, entry in enumerate(message.output)),
        backend=backend,
        max_batch_size=message.max_batch_size,
        default_model_filename=message.default_model_filename or _FILENAMES.get(backend, DEFAULT_MODEL_FILENAME),
        instance_groups=tuple(_group(entry) for entry in message.instance_group),
        parameters={key: value.string_value for key, value in message.parameters.items()},
        gpu_accelerators=tuple(_accelerator(entry) for entry in accelerators.gpu_execution_accelerator),
        cpu_accelerators=tuple(_accelerator(entry) for entry in accelerators.cpu_execution_accelerator),
        response_cache=message.response_cache.enable,
        is_decoupled=message.model_transaction_policy.decoupled,
    )
    if message.HasField("dynamic_batching"):
        config = replace(config, dynamic_batching=_dynamic_batching(message.dynamic_batching))
    if message.HasField("sequence_batching"):
        config = replace(config, sequence_batching=_sequence_batching(message.sequence_batching))
    if is_ensemble:
        steps = tuple(_step(entry) for entry in message.ensemble_scheduling.step)
        own_backend = "" if message.platform == ENSEMBLE_PLATFORM else backend
        config = replace(config, ensemble_steps=steps, backend=own_backend, default_model_filename="")
    return config


def _check_parameters(config: ModelConfig) -> Iterator[Finding]:
    yield from check_parameters(config.parameters)
    for accelerator in (*config.gpu_accelerators, *config.cpu_accelerators):
        yield from check_parameters(accelerator.parameters, "execution_accelerators.parameters")


def _check_reshapes(message: Any) -> Iterator[Finding]:
    for tensor in (*message.input, *message.output):
        if tensor.HasField("reshape") and (tensor.reshape.shape or tuple(tensor.dims) != (1,)):
            problem = f"{tensor.name!a:.100} is reshaped to more than a scalar"
            yield Finding("config.reshape", "reshape", problem, "let the graph take the shape that clients send")


def _data_type(message: Any, path: str) -> DataType:
    field = message.DESCRIPTOR.fields_by_name["data_type"]
    value = field.enum_type.values_by_number.get(message.data_type)
    if value is None or value.name not in _TYPES:
        raise _UnknownTypeError(path)
    return _TYPES[value.name]


def _tensor(message: Any, path: str) -> TensorConfig:
    return TensorConfig(
        name=message.name,
        dtype=_data_type(message, path),
        dims=tuple(message.dims),
        is_scalar=message.HasField("reshape") and tuple(message.dims) == (1,),
        is_optional=getattr(message, "optional", False),
    )


def _dynamic_batching(message: Any) -> DynamicBatching:
    has_policy = message.HasField("default_queue_policy")
    return DynamicBatching(
        preferred_batch_sizes=tuple(message.preferred_batch_size),
        max_queue_delay_us=message.max_queue_delay_microseconds,
        preserve_ordering=message.preserve_ordering,
        priority_levels=message.priority_levels,
        default_priority_level=message.default_priority_level,
        queue_policy=_queue_policy(message.default_queue_policy) if has_policy else None,
        priority_queue_policies={level: _queue_policy(entry) for level, entry in message.priority_queue_policy.items()},
    )


def _queue_policy(message: Any) -> QueuePolicy:
    return QueuePolicy(
        timeout_action=TimeoutAction.DELAY if message.timeout_action == 1 else TimeoutAction.REJECT,
        default_timeout_us=message.default_timeout_microseconds,
        allow_timeout_override=message.allow_timeout_override,
        max_queue_size=message.max_queue_size,
    )


def _sequence_batching(message: Any) -> SequenceBatching:
    is_oldest = message.HasField("oldest")
    strategy = message.oldest if is_oldest else message.direct
    return SequenceBatching(
        strategy=SequenceStrategy.OLDEST if is_oldest else SequenceStrategy.DIRECT,
        controls=tuple(_controls(message)),
        states=tuple(
            SequenceState(
                state.input_name, state.output_name, _data_type(state, "sequence_batching"), tuple(state.dims)
            )
            for state in message.state
        ),
        max_sequence_idle_us=message.max_sequence_idle_microseconds,
        max_queue_delay_us=strategy.max_queue_delay_microseconds,
        max_candidate_sequences=message.oldest.max_candidate_sequences,
        preferred_batch_sizes=tuple(message.oldest.preferred_batch_size),
        minimum_slot_utilization=message.direct.minimum_slot_utilization,
    )


def _controls(message: Any) -> Iterator[SequenceControl]:
    for entry in message.control_input:
        for control in entry.control:
            kind = ControlKind(control.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[control.kind].name)
            if kind is ControlKind.CORRELATION_ID:
                data_type = _data_type(control, "sequence_batching.control_input")
            elif control.fp32_false_true:
                data_type = DataType.FP32
            else:
                data_type = DataType.BOOL if control.bool_false_true else DataType.INT32
            yield SequenceControl(entry.name, kind, data_type)


def _step(message: Any) -> EnsembleStep:
    return EnsembleStep(message.model_name, message.model_version, dict(message.input_map), dict(message.output_map))


def _group(message: Any) -> InstanceGroup:
    limiter = message.rate_limiter
    resources = tuple(Resource(entry.name, entry.count, getattr(entry, "global")) for entry in limiter.resources)
    return InstanceGroup(
        kind=InstanceKind(message.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[message.kind].name),
        count=message.count or 1,
        gpus=tuple(message.gpus),
        rate_limiter=RateLimiter(resources, limiter.priority) if message.HasField("rate_limiter") else None,
        profiles=tuple(message.profile),
    )


def _accelerator(message: Any) -> Accelerator:
    return Accelerator(message.name, dict(message.parameters))
