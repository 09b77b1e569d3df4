from dataclasses import replace
from typing import Any

import pytest

from model_repository_tools.config import (
    Accelerator,
    ControlKind,
    DynamicBatching,
    EnsembleStep,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    QueuePolicy,
    RateLimiter,
    Resource,
    SequenceBatching,
    SequenceControl,
    SequenceStrategy,
    TensorConfig,
    TimeoutAction,
    check_config,
    ensemble_config,
    pinned_parts,
)
from model_repository_tools.findings import has_errors
from model_repository_tools.tensors import DataType
from tests.model_repository_tools.config.test_options import CONFIG

X, Y = CONFIG.inputs[0], CONFIG.outputs[0]
ALONE: dict[str, Any] = {"max_batch_size": 0, "dynamic_batching": None}
START = SequenceControl("start", ControlKind.START, DataType.FP32)


def codes(config: ModelConfig) -> list[str]:
    return [finding.code for finding in check_config(config)]


def test_a_sound_configuration_has_no_findings() -> None:
    assert codes(CONFIG) == []


SOUND: list[dict[str, Any]] = [
    ALONE,
    {"dynamic_batching": DynamicBatching((1, 32), 100, priority_levels=3, default_priority_level=2)},
    {
        "dynamic_batching": DynamicBatching(
            priority_levels=2,
            default_priority_level=1,
            queue_policy=QueuePolicy(default_timeout_us=100),
            priority_queue_policies={2: QueuePolicy(max_queue_size=1)},
        )
    },
    {"dynamic_batching": None, "sequence_batching": SequenceBatching(controls=(START,))},
    {
        "dynamic_batching": None,
        "sequence_batching": SequenceBatching(SequenceStrategy.OLDEST, max_candidate_sequences=4),
    },
    {"instance_groups": (InstanceGroup(InstanceKind.GPU, 2, (0, 1), RateLimiter((Resource("r", 1),), 2)),)},
    {"gpu_accelerators": (Accelerator("tensorrt", {"precision_mode": "FP16"}),)},
    {"response_cache": True},
    {"backend": "python", "is_decoupled": True},
]


@pytest.mark.parametrize("changes", SOUND)
def test_options_that_fit_together_have_no_findings(changes: dict[str, Any]) -> None:
    assert codes(replace(CONFIG, **changes)) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"inputs": ()}, "config.no_tensors"),
    ({"outputs": (Y, Y)}, "config.tensor_name"),
    ({"inputs": (replace(X, name=""),)}, "config.tensor_name"),
    ({"inputs": (replace(X, dims=(0,)),)}, "config.dims"),
    ({"inputs": (replace(X, dims=(9223372036854775807, 64)),)}, "config.dims"),
    ({"inputs": (replace(X, dims=(-2,)),)}, "config.dims"),
    ({"inputs": (replace(X, dims=()),)}, "config.dims"),
    ({"inputs": (replace(X, dims=(1,) * 40),)}, "config.dims"),
    ({"max_batch_size": -1, "dynamic_batching": None}, "config.max_batch_size"),
    ({"max_batch_size": 0}, "config.batching_without_batch"),
    ({"dynamic_batching": DynamicBatching((64,))}, "config.preferred_batch_size"),
    ({"dynamic_batching": DynamicBatching((0,))}, "config.preferred_batch_size"),
    ({"dynamic_batching": DynamicBatching(max_queue_delay_us=-1)}, "config.queue_delay"),
    ({"dynamic_batching": DynamicBatching(priority_levels=2)}, "config.priority"),
    ({"dynamic_batching": DynamicBatching(priority_levels=2, default_priority_level=3)}, "config.priority"),
    ({"dynamic_batching": DynamicBatching(default_priority_level=1)}, "config.priority"),
    ({"dynamic_batching": DynamicBatching(priority_queue_policies={1: QueuePolicy()})}, "config.priority"),
    (
        {
            "dynamic_batching": DynamicBatching(
                priority_levels=1, default_priority_level=1, priority_queue_policies={2: QueuePolicy()}
            )
        },
        "config.priority",
    ),
    (
        {"dynamic_batching": DynamicBatching(preserve_ordering=True, priority_levels=2, default_priority_level=1)},
        "config.ordering",
    ),
    (
        {
            "dynamic_batching": DynamicBatching(
                preserve_ordering=True, queue_policy=QueuePolicy(timeout_action=TimeoutAction.DELAY)
            )
        },
        "config.ordering",
    ),
    ({"sequence_batching": SequenceBatching()}, "config.batching_conflict"),
    (
        {"dynamic_batching": None, "sequence_batching": SequenceBatching(controls=(START, START))},
        "config.control",
    ),
    (
        {
            "dynamic_batching": None,
            "sequence_batching": SequenceBatching(controls=(replace(START, dtype=DataType.INT64),)),
        },
        "config.control",
    ),
    ({"dynamic_batching": None, "sequence_batching": SequenceBatching(SequenceStrategy.OLDEST)}, "config.sequence"),
    ({"dynamic_batching": None, "sequence_batching": SequenceBatching(max_candidate_sequences=1)}, "config.sequence"),
    (
        {"dynamic_batching": None, "sequence_batching": SequenceBatching(minimum_slot_utilization=2.0)},
        "config.sequence",
    ),
    ({"response_cache": True, "backend": "python", "is_decoupled": True}, "config.cache_decoupled"),
    (
        {"response_cache": True, "dynamic_batching": None, "sequence_batching": SequenceBatching()},
        "config.cache_sequence",
    ),
    ({"is_decoupled": True}, "config.decoupled"),
    ({"instance_groups": (InstanceGroup(count=0),)}, "config.instances"),
    ({"instance_groups": (InstanceGroup(InstanceKind.CPU, gpus=(0,)),)}, "config.instances"),
    ({"instance_groups": (InstanceGroup(InstanceKind.GPU, gpus=(0, 0)),)}, "config.instances"),
    ({"instance_groups": (InstanceGroup(InstanceKind.GPU, gpus=(-1,)),)}, "config.instances"),
    ({"instance_groups": (InstanceGroup(rate_limiter=RateLimiter((Resource("", 1),))),)}, "config.rate_limiter"),
    ({"gpu_accelerators": (Accelerator("evil"),)}, "config.accelerator"),
    (
        {"gpu_accelerators": (Accelerator("tensorrt"),), "instance_groups": (InstanceGroup(InstanceKind.CPU),)},
        "config.accelerator",
    ),
    ({"default_model_filename": "../../evil.onnx"}, "code.model_filename"),
    ({"default_model_filename": "model.onnx; reboot"}, "code.model_filename"),
    ({"default_model_filename": "$(reboot)"}, "code.model_filename"),
    ({"backend": ""}, "config.steps"),
]


@pytest.mark.parametrize(("changes", "code"), WRONG)
def test_what_contradicts_itself_is_a_finding(changes: dict[str, Any], code: str) -> None:
    findings = check_config(replace(CONFIG, **changes))
    assert code in [finding.code for finding in findings]
    assert has_errors(findings)
    assert all(finding.message and finding.fix for finding in findings)


A, B, C = (TensorConfig(name, DataType.FP32, (4,)) for name in "abc")
STEPS = (EnsembleStep("m.v1", 1, {"x": "a"}, {"y": "b"}), EnsembleStep("m.v2", 2, {"x": "b"}, {"y": "c"}))
ENSEMBLE = ensemble_config("e.v1", 1, STEPS, inputs=(A,), outputs=(C,))


def test_an_ensemble_pins_exact_versions_of_its_parts() -> None:
    assert codes(ENSEMBLE) == []
    assert pinned_parts(ENSEMBLE) == (("m.v1", 1), ("m.v2", 2))
    assert pinned_parts(CONFIG) == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ensemble_steps": ()}, "config.steps"),
        ({"ensemble_steps": (STEPS[0], replace(STEPS[1], model_version=-1))}, "config.ensemble_unpinned"),
        ({"ensemble_steps": (STEPS[0], replace(STEPS[1], model_version=0))}, "config.ensemble_unpinned"),
        ({"ensemble_steps": (STEPS[0], replace(STEPS[1], model_name="e.v1"))}, "config.ensemble_part"),
        ({"ensemble_steps": (STEPS[0], replace(STEPS[1], input_map={}))}, "config.ensemble_maps"),
        ({"ensemble_steps": STEPS[:1]}, "config.ensemble_flow"),
        ({"ensemble_steps": (STEPS[0], replace(STEPS[1], input_map={"x": "nowhere"}))}, "config.ensemble_flow"),
        ({"ensemble_steps": (replace(STEPS[0], input_map={"x": "c"}), STEPS[1])}, "config.ensemble_flow"),
        ({"ensemble_steps": (*STEPS, STEPS[0])}, "config.ensemble_flow"),
        ({"inputs": (A, C)}, "config.ensemble_flow"),
        ({"dynamic_batching": DynamicBatching(), "max_batch_size": 4}, "config.ensemble"),
        ({"backend": "onnxruntime"}, "config.ensemble"),
    ],
)
def test_an_ensemble_that_does_not_connect_is_a_finding(changes: dict[str, Any], code: str) -> None:
    assert code in codes(replace(ENSEMBLE, **changes))


def test_a_step_before_its_inputs_steps_is_fine() -> None:
    assert codes(replace(ENSEMBLE, ensemble_steps=STEPS[::-1])) == []
