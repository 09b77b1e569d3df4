"""Opens an ONNX Runtime session the way a model's configuration asks for it.

Source: the parameters and the graph level of NVIDIA's onnxruntime_backend (its README, "Model Config Options").
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from .errors import ModelLoadError, explain
from .signature import GraphTensor, Signature, agree

Log = Callable[[str], None]
Provider = tuple[str, dict[str, str]]

_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_CPU: Provider = ("CPUExecutionProvider", {})
_ERRORS_ONLY = 3
_GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_TENSORRT_PRECISIONS = {
    "FP32": {},
    "FP16": {"trt_fp16_enable": "1"},
    "BF16": {"trt_bf16_enable": "1"},
    "INT8": {"trt_int8_enable": "1"},
}
_TENSORRT_OPTIONS = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def open_session(
    path: Path, config: Mapping[str, Any], *, kind: str, device_id: int, warn: Log
) -> tuple[Any, Signature]:
    """Loads an ONNX file and returns its session and the signature that its configuration agrees to.

    Raises:
        ModelLoadError: The file is missing or broken, or the configuration does not fit it.
    """
    options = session_options(config)
    available = onnxruntime.get_available_providers()
    wanted = providers(config, kind=kind, device_id=device_id, available=available, warn=warn)
    try:
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=wanted)
    except Exception as error:  # noqa: BLE001  ONNX Runtime's exceptions have no base of their own
        if type(error).__name__ == "NoSuchFile":
            raise ModelLoadError(f"unable to find '{path.name}' in the version folder") from None
        reason = explain(error, directory=str(path.parent))
        raise ModelLoadError(f"'{path.name}' cannot be loaded: {reason}") from None
    signature = agree(
        config,
        inputs=[GraphTensor.of(node) for node in session.get_inputs()],
        outputs=[GraphTensor.of(node) for node in session.get_outputs()],
        overridable=[GraphTensor.of(node) for node in session.get_overridable_initializers()],
    )
    return session, signature


def session_options(config: Mapping[str, Any]) -> Any:
    """Translates `parameters` and `optimization.graph.level` of a model configuration.

    Raises:
        ModelLoadError: A value is not one of those that the native backend takes.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    # The native backend takes every other level for "all optimizations".
    options.graph_optimization_level = _GRAPH_LEVELS.get(level, _GRAPH_LEVELS[0])
    parameters = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
    mode = _integer(parameters, "execution_mode")
    if mode not in (0, 1):
        raise ModelLoadError(f"parameter 'execution_mode' is {mode}: use 0 (sequential) or 1 (parallel)")
    options.execution_mode = (
        onnxruntime.ExecutionMode.ORT_PARALLEL if mode else onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    )
    options.intra_op_num_threads = max(_integer(parameters, "intra_op_thread_count"), 0)
    options.inter_op_num_threads = max(_integer(parameters, "inter_op_thread_count"), 0)
    options.enable_cpu_mem_arena = _boolean(parameters, "enable_mem_arena", default=True)
    options.enable_mem_pattern = _boolean(parameters, "enable_mem_pattern", default=True)
    initializers = parameters.get("session.use_device_allocator_for_initializers")
    if initializers is not None:
        options.add_session_config_entry("session.use_device_allocator_for_initializers", initializers)
    return options


def providers(
    config: Mapping[str, Any], *, kind: str, device_id: int, available: Sequence[str], warn: Log
) -> list[Provider]:
    """Names the execution providers of an instance, the preferred one first; the CPU is always the last resort."""
    if kind != "GPU":
        return [_CPU]
    accelerators = config.get("optimization", {}).get("execution_accelerators", {}).get("gpu_execution_accelerator", [])
    by_name = {accelerator["name"]: accelerator.get("parameters", {}) for accelerator in accelerators}
    device = {"device_id": str(device_id)}
    wanted: list[Provider] = []
    if "tensorrt" in by_name:
        wanted.append((_TENSORRT, {**device, **_tensorrt_options(by_name["tensorrt"])}))
    wanted.append((_CUDA, {**device, **by_name.get("cuda", {})}))
    found = [provider for provider in wanted if provider[0] in available]
    for name in [name for name, _ in wanted if name not in available]:
        warn(f"the instance asks for a GPU, but this onnxruntime has no {name}: it is left out")
    if not found:
        warn("no GPU provider is left: the model runs on the CPU (install onnxruntime-gpu in Triton's environment)")
    return [*found, _CPU]


def _tensorrt_options(parameters: Mapping[str, str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for key, value in parameters.items():
        if key == "precision_mode":
            if value not in _TENSORRT_PRECISIONS:
                raise ModelLoadError(f"unsupported precision mode '{value}' is requested")
            options.update(_TENSORRT_PRECISIONS[value])
        else:
            options[_TENSORRT_OPTIONS.get(key, key)] = value
    return options


def _integer(parameters: Mapping[str, str], key: str) -> int:
    value = parameters.get(key, "0")
    try:
        return int(value)
    except ValueError:
        raise ModelLoadError(f"parameter '{key}' is '{value}': use a whole number") from None


def _boolean(parameters: Mapping[str, str], key: str, *, default: bool) -> bool:
    value = parameters.get(key)
    if value is None:
        return default
    if value.lower() not in _BOOLEANS:
        raise ModelLoadError(f"parameter '{key}' is '{value}': use 0 or 1")
    return _BOOLEANS[value.lower()]
