import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    SequenceState,
    SequenceStrategy,
    ServingOptions,
    TensorConfig,
    TimeoutAction,
    read_config,
    read_options,
    reconcile,
    render_config,
)
from model_repository_tools.config.allowed import ACCELERATOR_PARAMETERS, PARAMETERS
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.tensors import DataType
from tests.model_repository_tools.config.test_check import ENSEMBLE
from tests.model_repository_tools.config.test_options import CONFIG

TEXT = """
name: "whatever" platform: "onnxruntime_onnx" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 4 }
output { name: "y" data_type: TYPE_FP32 dims: 4 }
"""


def read(text: str) -> tuple[ModelConfig | None, list[str]]:
    imported = read_config(text, "m.v1", 1, files=["model.onnx"])
    return imported.config, [finding.code for finding in imported.findings]


def test_a_plain_configuration_is_read_under_the_name_it_gets_here() -> None:
    config, codes = read(TEXT + "dynamic_batching { max_queue_delay_microseconds: 100 } version_policy { all {} }")
    assert codes == []
    assert config is not None
    assert (config.name, config.version_number, config.backend) == ("m.v1", 1, "onnxruntime")
    assert config.dynamic_batching == DynamicBatching(max_queue_delay_us=100)
    assert 'name: "m.v1"' in render_config(config)


CODE = [
    ('model_operations { op_library_filename: "/tmp/evil.so" }', "code.op_library"),
    ('runtime: "../../evil.so"', "code.runtime"),
    ('model_repository_agents { agents { name: "evil" } }', "code.agents"),
    ('parameters { key: "EXECUTION_ENV_PATH" value { string_value: "/tmp/env.tar.gz" } }', "code.execution_env"),
    ('default_model_filename: "a;reboot"', "code.model_filename"),
    ('default_model_filename: "../../../etc/passwd"', "code.model_filename"),
    ('default_model_filename: "/etc/passwd"', "code.model_filename"),
]


@pytest.mark.parametrize(("line", "code"), CODE)
def test_what_makes_the_server_run_code_is_a_finding_of_its_own(line: str, code: str) -> None:
    imported = read_config(TEXT + line, "m.v1", 1)
    assert [finding.code for finding in imported.findings] == [code]
    assert imported.findings[0].is_code
    assert imported.findings[0].severity is Severity.ERROR


@pytest.mark.parametrize(
    ("backend", "code"),
    [("python", "code.python_backend"), ("evil", "code.unknown_backend"), ("../x", "code.unknown_backend")],
)
def test_a_backend_that_is_code_is_a_finding(backend: str, code: str) -> None:
    text = TEXT.replace('platform: "onnxruntime_onnx"', f'backend: "{backend}"')
    assert code in read(text)[1]


CACHE_PATH = """optimization { execution_accelerators { gpu_execution_accelerator {
  name: 'tensorrt' parameters { key: 'trt_engine_cache_path' value: '/etc' } } } }"""
OUTSIDE = [
    ('model_warmup { name: "w" inputs { key: "x" value { input_data_file: "../../etc/shadow" } } }', "path_escapes"),
    ('sequence_batching { state { input_name: "i" data_type: TYPE_FP32 initial_state { data_file: "/a" } } }', "field"),
    ('cc_model_filenames { key: "8.6" value: "../a" }', "path_escapes"),
    ('cc_model_filenames { key: "8.6" value: "a" }', "field"),
    ("batch_input { target_name: 'a' }", "field"),
    ("instance_group { secondary_devices { kind: KIND_NVDLA } }", "field"),
    ("instance_group { passive: true }", "field"),
    ('ensemble_scheduling { step { model_namespace: "/etc" } }', "field"),
    ('parameters { key: "x" value { string_value: "y" } }', "parameter"),
    ('parameters { key: "intra_op_thread_count" value { string_value: "/etc/passwd" } }', "parameter"),
    (CACHE_PATH, "parameter"),
]


@pytest.mark.parametrize(("line", "code"), OUTSIDE)
def test_a_field_that_is_not_known_to_be_harmless_is_a_finding(line: str, code: str) -> None:
    assert f"config.{code}" in read(TEXT + line)[1]


@pytest.mark.parametrize("line", ["metric_tags { key: 'a' value: 'b' }", "optimization { cuda { graphs: true } }"])
def test_what_only_changes_bookkeeping_is_left_out_with_a_warning(line: str) -> None:
    imported = read_config(TEXT + line, "m.v1", 1)
    assert [(finding.code, finding.severity) for finding in imported.findings] == [
        ("config.left_out", Severity.WARNING)
    ]
    assert imported.config is not None
    assert "metric_tags" not in render_config(imported.config)


def test_a_label_file_outside_the_version_is_a_finding_beside_the_warning() -> None:
    text = TEXT + 'output { name: "z" data_type: TYPE_FP32 dims: 1 label_filename: "../../etc/passwd" }'
    assert read(text)[1] == ["config.path_escapes", "config.left_out"]


@pytest.mark.parametrize("line", ["input { name: 'z' dims: 1 }", "input { name: 'z' data_type: 99 dims: 1 }"])
def test_a_type_that_does_not_exist_is_a_finding(line: str) -> None:
    config, codes = read(TEXT + line)
    assert config is None
    assert codes[-1] in {"config.data_type", "config.malformed"}


def test_a_reshape_to_more_than_a_scalar_is_a_finding() -> None:
    line = 'input { name: "z" data_type: TYPE_FP32 dims: 4 reshape { shape: [2, 2] } }'
    assert read(TEXT + line)[1] == ["config.reshape"]


def test_a_file_that_the_version_does_not_have_is_a_finding() -> None:
    assert read(TEXT + 'default_model_filename: "other.onnx"')[1] == ["config.model_missing"]


HOSTILE = [
    "input { " * 100_000,
    "parameters { key: 'a' value { string_value: '" + "x" * 1_000_000 + "' } }",
    "input { dims: 1 } " * 50_000,
    "dims" * 200_000,
    'name: "' + "\\377" * 200_000 + '"',
    "max_batch_size: " + "9" * 100_000,
    "[evil.extension] { }",
    "\0" * 1000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_ends_in_findings_soon(text: str) -> None:
    begin = time.monotonic()
    assert read_config(text, "m.v1", 1).findings
    assert time.monotonic() - begin < 20


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    assert read_config(TEXT + text, "m.v1", 1) is not None


tensors = st.builds(
    TensorConfig,
    name=st.sampled_from("xyz"),
    dtype=st.sampled_from(list(DataType)),
    dims=st.lists(st.integers(1, 100) | st.just(-1), min_size=1, max_size=4).map(tuple),
)
policies = st.builds(
    QueuePolicy,
    timeout_action=st.sampled_from(TimeoutAction),
    default_timeout_us=st.integers(0, 1000),
    allow_timeout_override=st.booleans(),
    max_queue_size=st.integers(0, 100),
)
sizes = st.lists(st.integers(1, 32), max_size=3).map(tuple)
dynamic = st.builds(
    DynamicBatching,
    preferred_batch_sizes=sizes,
    max_queue_delay_us=st.integers(0, 1000),
    preserve_ordering=st.booleans(),
    priority_levels=st.integers(0, 5),
    default_priority_level=st.integers(0, 5),
    queue_policy=st.none() | policies,
    priority_queue_policies=st.dictionaries(st.integers(1, 5), policies, max_size=2),
)
controls = st.builds(
    SequenceControl,
    name=st.sampled_from("ab"),
    kind=st.sampled_from([ControlKind.START, ControlKind.READY, ControlKind.END]),
    dtype=st.sampled_from([DataType.INT32, DataType.FP32, DataType.BOOL]),
) | st.just(SequenceControl("id", ControlKind.CORRELATION_ID, DataType.UINT64))
states = st.builds(
    SequenceState,
    input_name=st.just("i"),
    output_name=st.just("o"),
    dtype=st.sampled_from(list(DataType)),
    dims=st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple),
)
sequences = st.builds(
    SequenceBatching,
    strategy=st.just(SequenceStrategy.DIRECT),
    controls=st.lists(controls, max_size=2).map(tuple),
    states=st.lists(states, max_size=2).map(tuple),
    max_sequence_idle_us=st.integers(0, 10),
    max_queue_delay_us=st.integers(0, 10),
    minimum_slot_utilization=st.sampled_from([0.0, 0.5]),
) | st.builds(
    SequenceBatching,
    strategy=st.just(SequenceStrategy.OLDEST),
    max_candidate_sequences=st.integers(0, 5),
    preferred_batch_sizes=sizes,
)
groups = st.builds(
    InstanceGroup,
    kind=st.sampled_from(InstanceKind),
    count=st.integers(1, 4),
    gpus=st.lists(st.integers(0, 3), max_size=2).map(tuple),
    rate_limiter=st.none()
    | st.builds(
        RateLimiter,
        resources=st.lists(st.builds(Resource, st.just("r"), st.integers(1, 3), st.booleans()), max_size=2).map(tuple),
        priority=st.integers(0, 3),
    ),
    profiles=st.lists(st.sampled_from(["0", "1"]), max_size=2).map(tuple),
)
accelerators = st.builds(
    Accelerator,
    name=st.sampled_from(["tensorrt", "openvino"]),
    parameters=st.dictionaries(st.sampled_from(sorted(ACCELERATOR_PARAMETERS)), st.just("1"), max_size=2),
)
configs = st.builds(
    ModelConfig,
    name=st.just("m.v1"),
    version_number=st.just(1),
    inputs=st.lists(tensors, max_size=2).map(tuple),
    outputs=st.lists(tensors, max_size=2).map(tuple),
    backend=st.sampled_from(["onnxruntime", "tensorrt", "python"]),
    max_batch_size=st.integers(0, 32),
    dynamic_batching=st.none() | dynamic,
    sequence_batching=st.none() | sequences,
    instance_groups=st.lists(groups, max_size=2).map(tuple),
    parameters=st.dictionaries(st.sampled_from(sorted(PARAMETERS)), st.just("1"), max_size=2),
    gpu_accelerators=st.lists(accelerators, max_size=2).map(tuple),
    cpu_accelerators=st.lists(accelerators, max_size=2).map(tuple),
    response_cache=st.booleans(),
    is_decoupled=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(configs)
def test_what_was_written_is_read_back(config: ModelConfig) -> None:
    imported = read_config(render_config(config), "m.v1", 1)
    if config.dynamic_batching is not None and config.sequence_batching is not None:
        assert imported.config is not None  # the schema keeps only the later of the two
        return
    assert imported.config == config
    assert not [finding for finding in imported.findings if finding.code in {"config.field", "config.left_out"}]


def test_an_ensemble_is_read_back() -> None:
    imported = read_config(render_config(ENSEMBLE), "e.v1", 1)
    assert (imported.config, imported.findings) == (ENSEMBLE, ())
    floating = replace(ENSEMBLE, ensemble_steps=(EnsembleStep("m.v1", -1, {"x": "a"}, {"y": "c"}),))
    assert [f.code for f in read_config(render_config(floating), "e.v1", 1).findings] == ["config.ensemble_unpinned"]


def merged(text: str) -> tuple[ModelConfig, list[Finding]]:
    imported = read_config(text, "m.v1", 1).config
    assert imported is not None
    return reconcile(replace(CONFIG, outputs=(TensorConfig("y", DataType.FP32, (4,)),)), imported)


def test_imported_choices_are_laid_over_what_the_graph_dictates() -> None:
    config, findings = merged(TEXT + "response_cache { enable: true }")
    assert findings == []
    assert (config.max_batch_size, config.response_cache, config.dynamic_batching) == (8, True, DynamicBatching())


def test_a_configuration_without_batch_declares_whole_shapes() -> None:
    config, findings = merged(TEXT.replace("max_batch_size: 8", "").replace("dims: 4", "dims: [-1, 4]"))
    assert findings == []
    assert (config.max_batch_size, config.inputs[0].dims) == (0, (-1, 4))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x"', '"other"'),
        ("TYPE_FP32", "TYPE_INT8"),
        ("dims: 4", "dims: 5"),
        ("dims: 4", "dims: [4, 4]"),
        ('output { name: "y" data_type: TYPE_FP32 dims: 4 }', 'output { name: "n" data_type: TYPE_FP32 dims: 4 }'),
    ],
)
def test_inputs_that_the_graph_does_not_have_are_a_finding(old: str, new: str) -> None:
    assert {finding.code for finding in merged(TEXT.replace(old, new))[1]} == {"config.io_differs"}


def test_a_batch_that_the_graph_cannot_take_is_a_finding() -> None:
    imported = read_config(TEXT, "m.v1", 1).config
    assert imported is not None
    fixed = replace(CONFIG, max_batch_size=0, dynamic_batching=None)
    assert [finding.code for finding in reconcile(fixed, imported)[1]] == ["config.cannot_batch"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", ServingOptions()),
        ("response_cache { enable: true }", ServingOptions(response_cache=True)),
        ("max_batch_size: 4", ServingOptions(max_batch_size=4)),
        (
            "dynamic_batching { preferred_batch_size: 4 priority_levels: 2 default_priority_level: 1 }",
            ServingOptions(dynamic_batching=DynamicBatching((4,), priority_levels=2, default_priority_level=1)),
        ),
        (
            "instance_group { kind: KIND_CPU count: 2 }",
            ServingOptions(instance_groups=(InstanceGroup(InstanceKind.CPU, 2),)),
        ),
    ],
)
def test_a_piece_of_a_configuration_is_choices(text: str, options: ServingOptions) -> None:
    assert read_options(text) == (options, ())


@pytest.mark.parametrize("text", ["nonsense", "runtime: 'x'", "parameters { key: 'EXECUTION_ENV_PATH' }"])
def test_a_piece_that_is_wrong_has_findings(text: str) -> None:
    assert read_options(text)[1]
