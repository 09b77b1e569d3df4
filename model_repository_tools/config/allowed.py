"""What an imported config.pbtxt may say. The list names what is known to be harmless; everything else is a finding."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.paths import safe_relative_path

PYTHON_BACKEND = "python"
KNOWN_BACKENDS = frozenset({"onnxruntime", "tensorrt", PYTHON_BACKEND})
PLATFORMS = {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt"}

PARAMETERS = frozenset(
    {
        "FORCE_CPU_ONLY_INPUT_TENSORS",
        "arena_extend_strategy",
        "cudnn_conv_algo_search",
        "cudnn_conv_use_max_workspace",
        "enable_mem_arena",
        "enable_mem_pattern",
        "execution_mode",
        "gpu_mem_limit",
        "inter_op_thread_count",
        "intra_op_thread_count",
    }
)
ACCELERATOR_PARAMETERS = frozenset(
    {"max_cached_engines", "max_workspace_size_bytes", "minimum_segment_size", "num_streams", "precision_mode"}
)

_TAKEN = frozenset(
    [
        "name",
        "platform",
        "backend",
        "max_batch_size",
        "default_model_filename",
        "version_policy",
        "input.name",
        "input.data_type",
        "input.dims",
        "input.reshape",
        "input.optional",
        "output.name",
        "output.data_type",
        "output.dims",
        "output.reshape",
        "dynamic_batching.preferred_batch_size",
        "dynamic_batching.max_queue_delay_microseconds",
        "dynamic_batching.preserve_ordering",
        "dynamic_batching.priority_levels",
        "dynamic_batching.default_priority_level",
        "dynamic_batching.default_queue_policy.timeout_action",
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
        "dynamic_batching.default_queue_policy.allow_timeout_override",
        "dynamic_batching.default_queue_policy.max_queue_size",
        "dynamic_batching.priority_queue_policy.timeout_action",
        "dynamic_batching.priority_queue_policy.default_timeout_microseconds",
        "dynamic_batching.priority_queue_policy.allow_timeout_override",
        "dynamic_batching.priority_queue_policy.max_queue_size",
        "sequence_batching.max_sequence_idle_microseconds",
        "sequence_batching.direct.max_queue_delay_microseconds",
        "sequence_batching.direct.minimum_slot_utilization",
        "sequence_batching.oldest.max_candidate_sequences",
        "sequence_batching.oldest.preferred_batch_size",
        "sequence_batching.oldest.max_queue_delay_microseconds",
        "sequence_batching.control_input.name",
        "sequence_batching.control_input.control.kind",
        "sequence_batching.control_input.control.int32_false_true",
        "sequence_batching.control_input.control.fp32_false_true",
        "sequence_batching.control_input.control.bool_false_true",
        "sequence_batching.control_input.control.data_type",
        "sequence_batching.state.input_name",
        "sequence_batching.state.output_name",
        "sequence_batching.state.data_type",
        "sequence_batching.state.dims",
        "ensemble_scheduling.step.model_name",
        "ensemble_scheduling.step.model_version",
        "ensemble_scheduling.step.input_map",
        "ensemble_scheduling.step.output_map",
        "instance_group.kind",
        "instance_group.count",
        "instance_group.gpus",
        "instance_group.profile",
        "instance_group.rate_limiter.priority",
        "instance_group.rate_limiter.resources.name",
        "instance_group.rate_limiter.resources.count",
        "instance_group.rate_limiter.resources.global",
        "optimization.execution_accelerators.gpu_execution_accelerator.name",
        "optimization.execution_accelerators.gpu_execution_accelerator.parameters",
        "optimization.execution_accelerators.cpu_execution_accelerator.name",
        "optimization.execution_accelerators.cpu_execution_accelerator.parameters",
        "parameters",
        "response_cache.enable",
        "model_transaction_policy.decoupled",
    ]
)
# They change speed or bookkeeping, not answers: left out with a warning.
_LEFT_OUT = frozenset(
    [
        "metric_tags",
        "model_metrics",
        "model_warmup",
        "output.label_filename",
        "input.format",
        "instance_group.name",
        "instance_group.host_policy",
        "optimization.graph",
        "optimization.priority",
        "optimization.cuda",
        "optimization.input_pinned_memory",
        "optimization.output_pinned_memory",
        "optimization.eager_batching",
        "optimization.gather_kernel_buffer_threshold",
        "sequence_batching.oldest.preserve_ordering",
    ]
)
_CODE = {
    "model_operations": ("code.op_library", "loads a library of operators"),
    "runtime": ("code.runtime", "chooses the library that runs the model"),
    "model_repository_agents": ("code.agents", "runs libraries on the model before it is loaded"),
}
_PATHS = frozenset(
    {
        "output.label_filename",
        "model_warmup.inputs.input_data_file",
        "sequence_batching.state.initial_state.data_file",
        "cc_model_filenames",
    }
)
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9._,:+-]{0,64}")


def check_fields(message: Any) -> Iterator[Finding]:
    """Yield a finding for every field that is set and is not on the list, once for each."""
    reported = set()
    for path, value in _set_fields(message):
        if path in _PATHS and value is not None:
            yield from _check_path(path, str(value))
        found = _judge(path)
        if found is not None and found.path not in reported:
            reported.add(found.path)
            yield found


def check_parameters(parameters: Mapping[str, str], path: str = "parameters") -> Iterator[Finding]:
    """Yield a finding for every parameter of a backend that could make it load something, or that is not known."""
    known = PARAMETERS if path == "parameters" else ACCELERATOR_PARAMETERS
    for key, value in sorted(parameters.items()):
        field = f"{path}[{ascii(key)[1:-1]:.60}]"
        if key == "EXECUTION_ENV_PATH":
            message = "it names an archive of programs that the server unpacks and runs"
            yield Finding("code.execution_env", field, message, "leave it out, or let a second person approve it")
        elif key not in known:
            message = "it is not a parameter that is known to be harmless"
            yield Finding("config.parameter", field, message, "leave it out")
        elif not _PLAIN_VALUE.fullmatch(value):
            yield Finding("config.parameter", field, "its value is not a plain word or number", "correct it")


def check_backend(backend: str) -> Iterator[Finding]:
    """Yield a finding for a backend that runs code of the model's author, or that nobody here knows."""
    if backend == PYTHON_BACKEND:
        message = "the python backend runs the model's own program inside the server"
        yield Finding("code.python_backend", "backend", message, "let a second person approve the code in this version")
    elif backend not in KNOWN_BACKENDS:
        message = f"the backend {backend!a:.60} is not known: a backend is a library, or a program beside the model"
        yield Finding("code.unknown_backend", "backend", message, f"use one of {', '.join(sorted(KNOWN_BACKENDS))}")


def _set_fields(message: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path of every field that is set, outer before inner, and its value if it has one."""
    for field, value in message.ListFields():
        path = prefix + field.name
        if field.message_type is None:
            yield from ((path, item) for item in (value if _is_repeated(value) else [value]))
            continue
        yield path, None
        if path not in _CODE:
            for inner in _messages(field, value):
                if hasattr(inner, "ListFields"):
                    yield from _set_fields(inner, path + ".")
                else:
                    yield path, inner


def _messages(field: Any, value: Any) -> list[Any]:
    if field.message_type.GetOptions().map_entry:
        return list(value.values())
    return list(value) if _is_repeated(value) else [value]


def _is_repeated(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and not hasattr(value, "ListFields")


def _judge(path: str) -> Finding | None:
    if path in _CODE:
        code, what = _CODE[path]
        return Finding(code, path, f"it {what}", "leave it out, or let a second person approve it")
    if left_out := _covering(path, _LEFT_OUT):
        message = "it is not taken over: the published configuration is written anew"
        return Finding("config.left_out", left_out, message, "", Severity.WARNING)
    if _covering(path, _TAKEN) or any(known.startswith(path + ".") for known in _TAKEN | _LEFT_OUT):
        return None
    return Finding("config.field", path, "it is not among the fields that may be imported", "leave it out")


def _covering(path: str, known: frozenset[str]) -> str:
    """Return the entry of `known` that is `path`, or a message around it."""
    parts = path.split(".")
    return next((entry for end in range(len(parts)) if (entry := ".".join(parts[: end + 1])) in known), "")


def _check_path(path: str, value: str) -> Iterator[Finding]:
    try:
        safe_relative_path(value)
    except UnsafePathError as error:
        yield Finding("config.path_escapes", path, str(error), "name a file inside the version")
