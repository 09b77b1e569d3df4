"""Whether the parts of a configuration fit together. Triton would say it too, but only at load, on a live server."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from model_repository_tools.config.batching import (
    ControlKind,
    DynamicBatching,
    SequenceBatching,
    SequenceStrategy,
    TimeoutAction,
)
from model_repository_tools.config.ensemble import check_ensemble
from model_repository_tools.config.model_config import InstanceGroup, InstanceKind, ModelConfig, TensorConfig
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.inspection.onnx import MAX_DIMENSION
from model_repository_tools.tensors import MAX_RANK, DataType

SAFE_FILENAME = re.compile(r"[A-Za-z0-9._-]+")
GPU_ACCELERATORS = frozenset({"tensorrt", "gpu_io", "auto_mixed_precision"})
CPU_ACCELERATORS = frozenset({"openvino"})

_DECOUPLED_BACKENDS = frozenset({"python", "vllm", "tensorrtllm", "dali"})
_FLAG_TYPES = frozenset({DataType.INT32, DataType.FP32, DataType.BOOL})
_ID_TYPES = frozenset({DataType.UINT64, DataType.INT64, DataType.UINT32, DataType.INT32, DataType.BYTES})


def check_config(config: ModelConfig) -> list[Finding]:
    """Return what contradicts itself in a configuration; an empty list means: Triton has no reason to refuse it.

    Source: `ValidateModelConfig` and its neighbours in triton-inference-server/core, `model_config_utils.cc`.
    """
    findings = list(_check_tensors(config))
    findings += _check_batching(config)
    findings += _check_answers(config)
    for index, group in enumerate(config.instance_groups):
        findings += _check_group(group, f"instance_group[{index}]")
    findings += _check_accelerators(config)
    if config.ensemble_steps or not config.backend:
        findings += check_ensemble(config)
    elif not SAFE_FILENAME.fullmatch(config.default_model_filename):
        message = f"{config.default_model_filename!a:.100} is not a plain file name: the server may pass it to a shell"
        fix = "use letters, digits, '.', '_' and '-'"
        findings.append(Finding("code.model_filename", "default_model_filename", message, fix))
    return findings


def _check_tensors(config: ModelConfig) -> Iterator[Finding]:
    for role, tensors in (("input", config.inputs), ("output", config.outputs)):
        if not tensors:
            yield _problem("no_tensors", role, f"it declares no {role}", f"declare every {role}")
        for name, count in Counter(tensor.name for tensor in tensors).items():
            if count > 1 or not name or not name.isprintable():
                yield _problem("tensor_name", role, f"{name!a:.100} is no usable name, or taken", "rename it")
        for tensor in tensors:
            yield from _check_dims(tensor, role)


def _check_dims(tensor: TensorConfig, role: str) -> Iterator[Finding]:
    bad = [size for size in tensor.dims if not (size == -1 or 0 < size <= MAX_DIMENSION)]
    if bad or not tensor.dims or len(tensor.dims) > MAX_RANK:
        message = f"{tensor.name!a:.100} has no dimensions, more than {MAX_RANK}, or one of 0, below -1 or too large"
        yield _problem("dims", f"{role}[{tensor.name}]".replace("\n", " ")[:100], message, "declare the real shape")


def _check_batching(config: ModelConfig) -> Iterator[Finding]:
    if config.max_batch_size < 0:
        yield _problem("max_batch_size", "max_batch_size", "it is negative", "use 0 for a model that does not batch")
    if config.dynamic_batching is not None and config.sequence_batching is not None:
        message = "a model is scheduled by dynamic batching or by sequences, not by both"
        yield _problem("batching_conflict", "sequence_batching", message, "choose one of them")
    if config.dynamic_batching is not None:
        yield from _check_dynamic(config.dynamic_batching, config.max_batch_size)
    if config.sequence_batching is not None:
        yield from _check_sequence(config.sequence_batching, config.max_batch_size)


def _check_dynamic(batching: DynamicBatching, max_batch_size: int) -> Iterator[Finding]:
    path = "dynamic_batching"
    if max_batch_size < 1:
        yield _problem(
            "batching_without_batch", path, "the model does not batch", "set max_batch_size, or leave batching out"
        )
    yield from _check_preferred(batching.preferred_batch_sizes, max_batch_size, path)
    if batching.max_queue_delay_us < 0:
        yield _problem("queue_delay", path, "the queue delay is negative", "use 0 or more microseconds")
    levels = batching.priority_levels
    if levels and not 1 <= batching.default_priority_level <= levels:
        message = f"the default priority level must be one of 1 to {levels}"
        yield _problem("priority", f"{path}.default_priority_level", message, "set it")
    if not levels and (batching.default_priority_level or batching.priority_queue_policies):
        yield _problem("priority", path, "there are priorities, but no priority levels", "set priority_levels")
    if batching.preserve_ordering and (levels > 1 or _may_delay(batching)):
        message = "answers cannot keep the order of requests that have priorities, or may be delayed"
        yield _problem("ordering", path, message, "give up preserve_ordering, or the others")
    if any(not 1 <= level <= levels for level in batching.priority_queue_policies) and levels:
        message = f"a queue policy is for a level outside 1 to {levels}"
        yield _problem("priority", f"{path}.priority_queue_policy", message, "name an existing level")


def _may_delay(batching: DynamicBatching) -> bool:
    policies = [batching.queue_policy, *batching.priority_queue_policies.values()]
    return any(policy is not None and policy.timeout_action is TimeoutAction.DELAY for policy in policies)


def _check_preferred(sizes: Iterable[int], max_batch_size: int, path: str) -> Iterator[Finding]:
    if wrong := [size for size in sizes if not 1 <= size <= max_batch_size]:
        message = f"preferred batch sizes must lie between 1 and {max_batch_size}: {wrong[:5]}"
        yield _problem("preferred_batch_size", f"{path}.preferred_batch_size", message, "leave those out")


def _check_sequence(batching: SequenceBatching, max_batch_size: int) -> Iterator[Finding]:
    path = "sequence_batching"
    for kind, count in Counter(control.kind for control in batching.controls).items():
        if count > 1:
            yield _problem("control", path, f"{kind.value} is sent to two inputs", "keep one of them")
    for control in batching.controls:
        allowed = _ID_TYPES if control.kind is ControlKind.CORRELATION_ID else _FLAG_TYPES
        if control.dtype not in allowed:
            types = ", ".join(sorted(allowed))
            yield _problem("control", path, f"{control.kind.value} cannot be {control.dtype.value}", f"use {types}")
    if batching.strategy is SequenceStrategy.OLDEST:
        if batching.max_candidate_sequences < 1:
            yield _problem("sequence", path, "the oldest strategy needs max_candidate_sequences", "set it")
        yield from _check_preferred(batching.preferred_batch_sizes, max(1, max_batch_size), path)
        only_direct = batching.minimum_slot_utilization != 0
    else:
        only_direct = False
        if batching.max_candidate_sequences or batching.preferred_batch_sizes:
            yield _problem("sequence", path, "options of the oldest strategy are set for the direct one", "drop them")
    if only_direct or not 0 <= batching.minimum_slot_utilization <= 1:
        message = "minimum_slot_utilization is for the direct strategy, between 0 and 1"
        yield _problem("sequence", path, message, "drop or correct it")


def _check_answers(config: ModelConfig) -> Iterator[Finding]:
    if config.is_decoupled and config.response_cache:
        message = "answers of a decoupled model cannot be cached"
        yield _problem("cache_decoupled", "response_cache", message, "turn one of them off")
    if config.response_cache and config.sequence_batching is not None:
        message = "the answer depends on the sequence, the cache knows only the request"
        yield _problem("cache_sequence", "response_cache", message, "turn the cache off")
    if config.is_decoupled and config.backend and config.backend not in _DECOUPLED_BACKENDS:
        message = f"the backend {config.backend!a:.50} answers each request exactly once"
        yield _problem("decoupled", "model_transaction_policy", message, "turn it off")


def _check_group(group: InstanceGroup, path: str) -> Iterator[Finding]:
    if group.count < 1:
        yield _problem("instances", path, "it asks for no instances", "use a count of 1 or more")
    if group.gpus and group.kind in {InstanceKind.CPU, InstanceKind.MODEL}:
        yield _problem("instances", path, f"{group.kind.value} names GPUs", "drop them, or use KIND_GPU")
    if any(gpu < 0 for gpu in group.gpus) or len(set(group.gpus)) != len(group.gpus):
        yield _problem("instances", path, "its GPUs are not numbers from 0 on, each once", "correct them")
    if group.rate_limiter is not None:
        for resource in group.rate_limiter.resources:
            if resource.count < 1 or not resource.name:
                message = "a resource needs a name and a count of 1 or more"
                yield _problem("rate_limiter", f"{path}.rate_limiter", message, "correct it")


def _check_accelerators(config: ModelConfig) -> Iterator[Finding]:
    for field, accelerators, known in (
        ("gpu_execution_accelerator", config.gpu_accelerators, GPU_ACCELERATORS),
        ("cpu_execution_accelerator", config.cpu_accelerators, CPU_ACCELERATORS),
    ):
        for accelerator in accelerators:
            if accelerator.name not in known:
                message = f"{accelerator.name!a:.50} is not one of {', '.join(sorted(known))}"
                yield _problem("accelerator", field, message, "choose one of them")
    kinds = {group.kind for group in config.instance_groups}
    if config.gpu_accelerators and kinds == {InstanceKind.CPU}:
        message = "it accelerates on GPUs, and all instances run on the CPU"
        yield _problem("accelerator", "gpu_execution_accelerator", message, "drop it, or place instances on a GPU")
    if config.cpu_accelerators and kinds == {InstanceKind.GPU}:
        message = "it accelerates on CPUs, and all instances run on GPUs"
        yield Finding("config.accelerator", "cpu_execution_accelerator", message, "drop it", severity=Severity.WARNING)


def _problem(kind: str, path: str, message: str, fix: str) -> Finding:
    return Finding(f"config.{kind}", path, message, fix)
