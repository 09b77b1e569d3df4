from dataclasses import replace

import pytest

from model_repository_tools.config import (
    DynamicBatching,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    SequenceBatching,
    ServingOptions,
    TensorConfig,
    apply_options,
    check_config,
)
from model_repository_tools.tensors import DataType

CONFIG = ModelConfig(
    name="m.v1",
    version_number=1,
    inputs=(TensorConfig("x", DataType.FP32, (4,)),),
    outputs=(TensorConfig("y", DataType.FP32, (1,), is_scalar=True),),
    max_batch_size=32,
    dynamic_batching=DynamicBatching(),
    parameters={"intra_op_thread_count": "1"},
)


def test_no_choice_changes_nothing() -> None:
    assert apply_options(CONFIG, ServingOptions()) == CONFIG


def test_choices_are_laid_over_and_the_rest_stays() -> None:
    options = ServingOptions(
        max_batch_size=8,
        dynamic_batching=DynamicBatching((4, 8), 500),
        instance_groups=(InstanceGroup(InstanceKind.GPU, 2),),
        response_cache=True,
        parameters={"execution_mode": "1"},
    )
    changed = apply_options(CONFIG, options)
    assert changed == replace(
        CONFIG,
        max_batch_size=8,
        dynamic_batching=DynamicBatching((4, 8), 500),
        instance_groups=(InstanceGroup(InstanceKind.GPU, 2),),
        response_cache=True,
        parameters={"intra_op_thread_count": "1", "execution_mode": "1"},
    )
    assert check_config(changed) == []


@pytest.mark.parametrize(("wanted", "expected"), [(64, 32), (32, 32), (1, 1)])
def test_a_batch_can_only_be_lowered(wanted: int, expected: int) -> None:
    assert apply_options(CONFIG, ServingOptions(max_batch_size=wanted)).max_batch_size == expected


def test_without_a_batch_shapes_are_whole_again() -> None:
    changed = apply_options(CONFIG, ServingOptions(max_batch_size=0))
    assert (changed.max_batch_size, changed.dynamic_batching) == (0, None)
    assert [tensor.dims for tensor in (*changed.inputs, *changed.outputs)] == [(-1, 4), (-1,)]
    assert not changed.outputs[0].is_scalar
    assert check_config(changed) == []


def test_sequences_take_the_place_of_derived_batching_but_not_of_a_chosen_one() -> None:
    assert apply_options(CONFIG, ServingOptions(sequence_batching=SequenceBatching())).dynamic_batching is None
    both = ServingOptions(sequence_batching=SequenceBatching(), dynamic_batching=DynamicBatching())
    assert "config.batching_conflict" in [finding.code for finding in check_config(apply_options(CONFIG, both))]
