"""What `check_config` lets pass, a real Triton loads; what it refuses, Triton refuses too, or serves wrongly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_repository_tools.config import (
    DynamicBatching,
    EnsembleStep,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    QueuePolicy,
    RateLimiter,
    Resource,
    SequenceBatching,
    SequenceStrategy,
    ServingOptions,
    TensorConfig,
    TimeoutAction,
    apply_options,
    check_config,
    derive_config,
    ensemble_config,
    render_config,
)
from model_repository_tools.golden import reference_sample, warm_up
from model_repository_tools.inspection import inspect_onnx
from model_repository_tools.tensors import DataType
from tests.model_repository_tools.graphs import save_double
from tests.support.triton import ControlError, TritonServer

CPU = (InstanceGroup(InstanceKind.CPU),)
POLICY = QueuePolicy(TimeoutAction.DELAY, 1_000_000, allow_timeout_override=True, max_queue_size=8)
LEVELS = DynamicBatching(
    (2, 4),
    100,
    priority_levels=2,
    default_priority_level=1,
    queue_policy=POLICY,
    priority_queue_policies={2: QueuePolicy(max_queue_size=4)},
)
OLDEST = SequenceBatching(
    SequenceStrategy.OLDEST, max_sequence_idle_us=1_000_000, max_candidate_sequences=4, preferred_batch_sizes=(2,)
)

SOUND: dict[str, ServingOptions] = {
    "plain": ServingOptions(),
    "levels": ServingOptions(dynamic_batching=LEVELS),
    "ordered": ServingOptions(dynamic_batching=DynamicBatching(preserve_ordering=True)),
    "oldest": ServingOptions(sequence_batching=OLDEST),
    "direct": ServingOptions(sequence_batching=SequenceBatching(minimum_slot_utilization=0.5)),
    "limited": ServingOptions(
        instance_groups=(InstanceGroup(InstanceKind.CPU, 2, rate_limiter=RateLimiter((Resource("r", 1),), 2)),)
    ),
    "cached": ServingOptions(response_cache=True),
    "alone": ServingOptions(max_batch_size=0),
    "tuned": ServingOptions(parameters={"intra_op_thread_count": "1"}),
}


def publish(triton: TritonServer, config: ModelConfig, model: bytes, warm: dict[str, bytes] | None = None) -> None:
    files = {f"{config.version_number}/model.onnx": model} if not config.ensemble_steps else {"1/.keep": b""}
    files |= {f"warmup/{name}": content for name, content in (warm or {}).items()}
    triton.add_model(config.name, render_config(config), files)
    triton.load(config.name)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_double(tmp_path / "model.onnx")


def configure(model: Path, name: str, options: ServingOptions) -> ModelConfig:
    config = derive_config(inspect_onnx(model), name, 1, instance_groups=CPU)
    return apply_options(config, options)


@pytest.mark.parametrize("name", SOUND)
def test_triton_loads_what_passes_the_check(triton: TritonServer, model: Path, name: str) -> None:
    config = configure(model, f"options-{name}.v1", SOUND[name])
    assert check_config(config) == []
    publish(triton, config, model.read_bytes())


def test_triton_warms_up_with_a_made_up_sample(triton: TritonServer, model: Path) -> None:
    config = configure(model, "options-warm.v1", ServingOptions())
    sample = reference_sample(model, inspect_onnx(model), config).sample
    assert sample is not None
    request, contents = warm_up(sample, config)
    publish(triton, replace(config, warm_ups=(request,)), model.read_bytes(), contents)


def test_triton_loads_an_ensemble_of_pinned_parts(triton: TritonServer, model: Path) -> None:
    for name in ("part-a.v1", "part-b.v1"):
        publish(triton, configure(model, name, ServingOptions()), model.read_bytes())
    a, c = (TensorConfig(name, DataType.FP32, (4,)) for name in "ac")
    steps = (EnsembleStep("part-a.v1", 1, {"x": "a"}, {"y": "b"}), EnsembleStep("part-b.v1", 1, {"x": "b"}, {"y": "c"}))
    config = ensemble_config("whole.v1", 1, steps, inputs=(a,), outputs=(c,), max_batch_size=8)
    assert check_config(config) == []
    publish(triton, config, b"")


WRONG: dict[str, dict[str, Any]] = {
    "batchless": {"max_batch_size": 0},
    "too-large": {"dynamic_batching": DynamicBatching((64,))},
    "no-default": {"dynamic_batching": DynamicBatching(priority_levels=2)},
    "no-level": {"dynamic_batching": DynamicBatching(priority_levels=1, default_priority_level=3)},
    "ordered-levels": {
        "dynamic_batching": DynamicBatching(preserve_ordering=True, priority_levels=2, default_priority_level=1)
    },
    "ordered-delay": {"dynamic_batching": DynamicBatching(preserve_ordering=True, queue_policy=POLICY)},
    "cpu-gpus": {"instance_groups": (InstanceGroup(InstanceKind.CPU, gpus=(0,)),)},
    "zero-dims": {"inputs": (TensorConfig("x", DataType.FP32, (0,)),)},
}


@pytest.mark.parametrize("name", WRONG)
def test_triton_refuses_what_does_not_pass(triton: TritonServer, model: Path, name: str) -> None:
    config = replace(configure(model, f"wrong-{name}.v1", ServingOptions()), **WRONG[name])
    assert check_config(config)
    with pytest.raises(ControlError):
        publish(triton, config, model.read_bytes())
