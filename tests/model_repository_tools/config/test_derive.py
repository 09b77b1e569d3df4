import pytest

from model_repository_tools.config import DynamicBatching, InstanceGroup, InstanceKind, TensorConfig, derive_config
from model_repository_tools.errors import NotServableError
from model_repository_tools.findings import Finding
from model_repository_tools.inspection import OnnxInspection
from model_repository_tools.tensors import DataType, TensorSpec

Shape = tuple[int, ...]


def spec(name: str, shape: Shape, *axes: str) -> TensorSpec:
    return TensorSpec(name, DataType.FP32, shape, axes)


def graph(inputs: list[Shape], outputs: list[Shape]) -> OnnxInspection:
    return OnnxInspection(
        1,
        tuple(spec(f"i{index}", shape) for index, shape in enumerate(inputs)),
        tuple(spec(f"o{index}", shape) for index, shape in enumerate(outputs)),
    )


@pytest.mark.parametrize(
    ("inputs", "outputs", "batches"),
    [
        ([(-1, 64)], [(-1, 10)], True),
        ([(-1, -1)], [(-1,)], True),
        ([(-1, 64), (-1, 2, 2)], [(-1, 1), (-1, -1)], True),
        ([(1, 64)], [(1, 10)], False),
        ([(-1, 64), (3,)], [(-1, 10)], False),
        ([(-1, 64)], [(10,)], False),
        ([], [(-1,)], False),
    ],
)
def test_a_graph_batches_if_every_first_axis_is_free(inputs: list[Shape], outputs: list[Shape], batches: bool) -> None:
    config = derive_config(graph(inputs, outputs), "m.v1", 1)
    assert config.max_batch_size == (32 if batches else 0)
    assert (config.dynamic_batching is not None) is batches
    assert [len(item.dims) for item in config.inputs] == [max(len(shape) - batches, 1) for shape in inputs]


def test_inputs_whose_first_axes_have_different_names_are_not_batched_together() -> None:
    inspection = OnnxInspection(
        1, (spec("a", (-1, 2), "rows", ""), spec("b", (-1, 2), "cols", "")), (spec("o", (-1,)),)
    )
    assert derive_config(inspection, "m.v1", 1).max_batch_size == 0


def test_a_row_without_dimensions_is_declared_as_one_number() -> None:
    config = derive_config(graph([(-1, 64)], [(-1,)]), "m.v1", 1)
    assert config.outputs == (TensorConfig("o0", DataType.FP32, (1,), is_scalar=True),)


def test_batching_can_be_forbidden() -> None:
    config = derive_config(graph([(-1, 64)], [(-1, 10)]), "m.v1", 1, max_batch_size=0)
    assert config.max_batch_size == 0
    assert config.inputs[0].dims == (-1, 64)
    assert config.dynamic_batching is None


def test_what_the_caller_wants_is_in_the_configuration() -> None:
    batching = DynamicBatching((4, 8), 100)
    groups = [InstanceGroup(InstanceKind.GPU, 2, (0, 1))]
    config = derive_config(
        graph([(-1, 64)], [(-1, 10)]),
        "digits.v7",
        7,
        max_batch_size=8,
        dynamic_batching=batching,
        instance_groups=groups,
        default_model_filename="net.onnx",
        parameters={"a": "1"},
    )
    assert (config.name, config.version_number, config.max_batch_size) == ("digits.v7", 7, 8)
    assert (config.dynamic_batching, config.instance_groups) == (batching, tuple(groups))
    assert (config.default_model_filename, config.parameters) == ("net.onnx", {"a": "1"})


def test_a_model_with_errors_gets_no_configuration() -> None:
    inspection = OnnxInspection(1, findings=(Finding("onnx.empty", "m", "the file is empty"),))
    with pytest.raises(NotServableError, match="the file is empty") as caught:
        derive_config(inspection, "m.v1", 1)
    assert caught.value.code == "onnx.empty"


def test_a_scalar_without_batch_is_refused_with_a_way_out() -> None:
    with pytest.raises(NotServableError, match=r"shape \[1\]") as caught:
        derive_config(graph([(3,)], [()]), "m.v1", 1)
    assert caught.value.code == "config.scalar"
