from dataclasses import replace

from model_repository_tools.config import (
    DynamicBatching,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    TensorConfig,
    WarmUp,
    WarmUpInput,
    parse_config,
    render_config,
)
from model_repository_tools.tensors import DataType

CONFIG = ModelConfig(
    name="digits.v3",
    version_number=3,
    inputs=(TensorConfig("image", DataType.FP32, (64,)), TensorConfig("text", DataType.BYTES, (-1,))),
    outputs=(TensorConfig("label", DataType.INT64, (1,), is_scalar=True),),
    max_batch_size=16,
    dynamic_batching=DynamicBatching((4, 8), 250),
    instance_groups=(InstanceGroup(InstanceKind.GPU, 2, (0, 1)), InstanceGroup(InstanceKind.CPU)),
    warm_ups=(WarmUp("golden", (WarmUpInput("image", DataType.FP32, (64,), "golden-0"),)),),
    parameters={"b": "2", "a": 'quote " and \n newline'},
)


def test_what_is_written_is_what_nvidias_schema_reads() -> None:
    message = parse_config(render_config(CONFIG), triton_name="digits.v3", version_number=3).message
    assert message is not None
    assert (message.name, message.backend, message.max_batch_size) == ("digits.v3", "onnxruntime", 16)
    assert [list(message.version_policy.specific.versions)] == [[3]]
    assert [(i.name, i.data_type, list(i.dims)) for i in message.input] == [("image", 11, [64]), ("text", 13, [-1])]
    assert message.output[0].HasField("reshape")
    assert not message.output[0].reshape.shape
    assert not message.input[0].HasField("reshape")
    assert list(message.dynamic_batching.preferred_batch_size) == [4, 8]
    assert message.dynamic_batching.max_queue_delay_microseconds == 250
    gpu, cpu = message.instance_group
    assert (gpu.Kind.Name(gpu.kind), gpu.count, list(gpu.gpus)) == ("KIND_GPU", 2, [0, 1])
    assert (cpu.Kind.Name(cpu.kind), cpu.count) == ("KIND_CPU", 1)
    assert message.default_model_filename == "model.onnx"
    assert message.model_warmup[0].inputs["image"].input_data_file == "golden-0"
    assert message.parameters["a"].string_value == 'quote " and \n newline'


def test_equal_configurations_give_equal_bytes() -> None:
    other = replace(CONFIG, parameters=dict(reversed(list(CONFIG.parameters.items()))))
    assert render_config(other) == render_config(CONFIG)


def test_dynamic_batching_without_options_is_still_written() -> None:
    message = parse_config(render_config(replace(CONFIG, dynamic_batching=DynamicBatching()))).message
    assert message is not None
    assert message.HasField("dynamic_batching")


def test_a_model_without_batching_says_so() -> None:
    message = parse_config(render_config(replace(CONFIG, max_batch_size=0, dynamic_batching=None))).message
    assert message is not None
    assert message.max_batch_size == 0
    assert not message.HasField("dynamic_batching")
