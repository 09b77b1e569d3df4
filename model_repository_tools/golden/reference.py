"""What a model must answer, found out by running it once with onnxruntime on the CPU."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model_repository_tools.config.model_config import ModelConfig
from model_repository_tools.errors import InvalidTensorError, ReferenceFailedError
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.golden.generate import generate_inputs
from model_repository_tools.golden.samples import GoldenSample, Origin, compare
from model_repository_tools.inspection import OnnxInspection
from model_repository_tools.sandbox import Limits, Network, Outcome, run_limited
from model_repository_tools.tensors import Array, DataType, JsonTensor, from_json_tensor, to_json_tensor

FREE_SIZES = (4, 16, 32, 64, 224, 1)
REFERENCE_LIMITS = Limits(memory_bytes=2 << 30, cpu_s=60, wall_s=120.0, report_bytes=64 << 20)

_TASK = "model_repository_tools.golden.reference:answer_reference"
_COPIES = 4  # of the weights: as the file has them, as protobuf reads them, as the session prepares them, and one spare
_GIVE_ONE = "give a golden sample: inputs, and the outputs they must get"


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """`sample` is None if the model could not be run; `findings` say why. `network`: what the run could reach."""

    sample: GoldenSample | None
    findings: tuple[Finding, ...] = ()
    network: Network = Network.SHARED


def reference_sample(
    model: Path,
    inspection: OnnxInspection,
    config: ModelConfig | None = None,
    *,
    inputs: Sequence[JsonTensor] | None = None,
    seed: int = 0,
    limits: Limits = REFERENCE_LIMITS,
) -> ReferenceResult:
    """Return a golden sample with the outputs that onnxruntime gives, in a child process with limits.

    Where no inputs are given, some are made up, with other sizes for free axes until the model takes one. The sample's
    origin is `REFERENCE`: it proves that a server computes the same as onnxruntime, not that the model is any good.

    Args:
        model: The .onnx file, external data beside it.
        inspection: Of that file; with errors in it the model is not run.
        config: If given, tensors have the shapes a client of the served model sees.
        inputs: A request to run instead.
        seed: For inputs that are made up.
        limits: Of the child.
    """
    if not inspection.is_servable:
        return ReferenceResult(None, (_finding("not_run", model, "is not run: its inspection found errors"),))
    try:
        requests = [list(inputs)] if inputs is not None else _made_up(inspection, config, seed)
    except InvalidTensorError as error:
        return ReferenceResult(None, (Finding("golden.not_generated", model.name, str(error), _GIVE_ONE),))
    weights = inspection.size_bytes + inspection.weight_bytes
    request = {
        "path": str(model.absolute()),
        "requests": requests,
        "scalar_inputs": [tensor.name for tensor in config.inputs if tensor.is_scalar] if config else [],
        "scalar_outputs": [tensor.name for tensor in config.outputs if tensor.is_scalar] if config else [],
    }
    return _result(model, run_limited(_TASK, request, limits, mapped_bytes=_COPIES * weights))


def answer_reference(
    path: str, requests: Sequence[Sequence[JsonTensor]], scalar_inputs: list[str], scalar_outputs: list[str]
) -> dict[str, Any]:
    """Run in the child: the first request that the model takes, twice.

    Raises:
        ReferenceFailedError: It takes none of them.
    """
    refusals = []
    session = _open_session(Path(path))
    for inputs in requests:
        try:
            outputs = _run(session, inputs, scalar_inputs, scalar_outputs)
            again = _run(session, inputs, scalar_inputs, scalar_outputs)
        except ReferenceFailedError as error:
            refusals.append(error)
        else:
            return {"inputs": inputs, "outputs": outputs, "is_repeatable": not compare(outputs, again)}
    raise refusals[0]


def reference_outputs(
    model: Path, inputs: Sequence[Mapping[str, Any]], config: ModelConfig | None = None
) -> tuple[JsonTensor, ...]:
    """Run the model once with onnxruntime on the CPU and return all outputs that have a JSON form.

    This *executes* the model in this process: only for models of your own. `reference_sample` is for all others.

    Args:
        model: The .onnx file, external data beside it.
        inputs: V2 JSON tensors.
        config: If given, tensors are reshaped as Triton would, so that the result is what a client sees.

    Raises:
        ReferenceFailedError: onnxruntime is not installed, or it refused the model or the inputs.
        InvalidTensorError: An input is malformed.
    """
    scalar_inputs = [tensor.name for tensor in config.inputs if tensor.is_scalar] if config else []
    scalar_outputs = [tensor.name for tensor in config.outputs if tensor.is_scalar] if config else []
    return _run(_open_session(model), inputs, scalar_inputs, scalar_outputs)


def _made_up(inspection: OnnxInspection, config: ModelConfig | None, seed: int) -> list[list[JsonTensor]]:
    """Return requests with different sizes of the free axes; only one if there are none."""
    is_free = any(-1 in spec.shape[1:] for spec in inspection.inputs)
    requests = []
    for free_size in FREE_SIZES if is_free else FREE_SIZES[:1]:
        try:
            requests.append(list(generate_inputs(inspection.inputs, config, seed=seed, free_size=free_size)))
        except InvalidTensorError:
            if not requests:
                raise
    return requests


def _result(model: Path, outcome: Outcome) -> ReferenceResult:
    if outcome.failure:
        is_refusal = "." in outcome.failure
        code = outcome.failure if is_refusal else f"reference.{outcome.failure}"
        reason = outcome.reason if is_refusal else f"{model.name}, run for a reference, {outcome.reason}"
        return ReferenceResult(None, (Finding(code, model.name, reason, _GIVE_ONE),), outcome.network)
    try:
        sample = GoldenSample.from_dict({"inputs": outcome.answer["inputs"], "outputs": outcome.answer["outputs"]})
    except (InvalidTensorError, KeyError, TypeError) as error:
        return ReferenceResult(None, (Finding("golden.invalid", model.name, str(error), _GIVE_ONE),), outcome.network)
    findings = []
    if not outcome.answer["is_repeatable"]:
        message = f"{model.name} answers the same request differently each time: its answers cannot be compared"
        findings.append(Finding("golden.not_repeatable", model.name, message, _GIVE_ONE, Severity.WARNING))
    return ReferenceResult(replace(sample, origin=Origin.REFERENCE), tuple(findings), outcome.network)


def _open_session(model: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ReferenceFailedError(
            "onnxruntime is not installed: pip install onnxruntime", code="reference.missing"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what matters is raised; the rest would go to the terminal
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class but this one
        raise ReferenceFailedError(f"onnxruntime refused: {_without_paths(str(error))}") from error


def _run(
    session: Any,
    inputs: Sequence[Mapping[str, Any]],
    scalar_inputs: Collection[str],
    scalar_outputs: Collection[str],
) -> tuple[JsonTensor, ...]:
    feeds = {
        str(tensor["name"]): _to_graph(from_json_tensor(tensor), tensor["name"] in scalar_inputs) for tensor in inputs
    }
    names = [output.name for output in session.get_outputs()]
    try:
        arrays = session.run(names, feeds)
    except Exception as error:  # as above
        raise ReferenceFailedError(f"onnxruntime refused: {_without_paths(str(error))}") from error
    return tuple(
        to_json_tensor(name, array.reshape((*array.shape, 1)) if name in scalar_outputs else array)
        for name, array in zip(names, arrays, strict=True)
        if DataType.from_numpy(array.dtype).has_json_form
    )


def _to_graph(array: Array, is_scalar: bool) -> Array:
    if array.dtype.kind == "O":  # onnxruntime wants text, not bytes
        array = np.array([element.decode() for element in array.ravel()], dtype=object).reshape(array.shape)
    return array.reshape(array.shape[:-1]) if is_scalar else array


def _finding(kind: str, model: Path, problem: str) -> Finding:
    return Finding(f"reference.{kind}", model.name, f"{model.name} {problem}", _GIVE_ONE)


def _without_paths(text: str) -> str:
    return re.sub(r"/[^\s:]*/", "", text)[:500]
