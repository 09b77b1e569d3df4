"""How the stand-in translates a model configuration for ONNX Runtime."""

from typing import Any

import onnxruntime
import pytest

from triton_models.backends.onnxruntime.stand_in.errors import ModelLoadError
from triton_models.backends.onnxruntime.stand_in.session import providers, session_options

CPU: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
EVERYTHING = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
LEVELS = onnxruntime.GraphOptimizationLevel


def parameters(**values: str) -> dict[str, Any]:
    return {"parameters": {key: {"string_value": value} for key, value in values.items()}}


def accelerators(**by_name: dict[str, str]) -> dict[str, Any]:
    entries = [{"name": name, "parameters": values} for name, values in by_name.items()]
    return {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": entries}}}


def test_threads_mode_and_memory_follow_the_parameters() -> None:
    options = session_options(
        parameters(
            intra_op_thread_count="3",
            inter_op_thread_count="2",
            execution_mode="1",
            enable_mem_arena="0",
            enable_mem_pattern="false",
        )
    )
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern) == (False, False)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (-1, LEVELS.ORT_ENABLE_BASIC),
        (0, LEVELS.ORT_ENABLE_ALL),
        (1, LEVELS.ORT_ENABLE_EXTENDED),
        (2, LEVELS.ORT_DISABLE_ALL),
    ],
)
def test_the_graph_level_means_what_it_means_natively(level: int, expected: Any) -> None:
    assert session_options({"optimization": {"graph": {"level": level}}}).graph_optimization_level == expected


@pytest.mark.parametrize(
    "config",
    [parameters(intra_op_thread_count="many"), parameters(execution_mode="2"), parameters(enable_mem_arena="?")],
)
def test_a_value_that_means_nothing_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ModelLoadError, match="parameter '"):
        session_options(config)


def test_a_cpu_instance_runs_on_the_cpu_also_where_there_is_a_gpu() -> None:
    assert providers({}, kind="CPU", device_id=0, available=EVERYTHING, warn=pytest.fail) == [CPU]


def test_a_gpu_instance_uses_its_device_and_falls_back_to_the_cpu() -> None:
    found = providers({}, kind="GPU", device_id=1, available=EVERYTHING, warn=pytest.fail)
    assert found == [("CUDAExecutionProvider", {"device_id": "1"}), CPU]


def test_accelerators_are_preferred_and_get_their_parameters() -> None:
    config = accelerators(
        tensorrt={"precision_mode": "FP16", "max_workspace_size_bytes": "1024", "trt_dla_core": "0"},
        cuda={"cudnn_conv_use_max_workspace": "0"},
    )
    tensorrt = {"device_id": "0", "trt_fp16_enable": "1", "trt_max_workspace_size": "1024", "trt_dla_core": "0"}
    assert providers(config, kind="GPU", device_id=0, available=EVERYTHING, warn=pytest.fail) == [
        ("TensorrtExecutionProvider", tensorrt),
        ("CUDAExecutionProvider", {"device_id": "0", "cudnn_conv_use_max_workspace": "0"}),
        CPU,
    ]


def test_a_gpu_instance_without_a_gpu_provider_runs_on_the_cpu_and_says_so() -> None:
    warnings: list[str] = []
    assert providers({}, kind="GPU", device_id=0, available=[CPU[0]], warn=warnings.append) == [CPU]
    assert warnings == [
        "the instance asks for a GPU, but this onnxruntime has no CUDAExecutionProvider: it is left out",
        "no GPU provider is left: the model runs on the CPU (install onnxruntime-gpu in Triton's environment)",
    ]
