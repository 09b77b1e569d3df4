"""Ensembles: models whose outputs feed other models, all at exact versions."""

from collections import Counter
from collections.abc import Iterator, Sequence

from model_repository_tools.config.model_config import EnsembleStep, ModelConfig, TensorConfig
from model_repository_tools.findings import Finding
from model_repository_tools.paths import safe_triton_name

MAX_STEPS = 100


def ensemble_config(
    triton_name: str,
    version_number: int,
    steps: Sequence[EnsembleStep],
    *,
    inputs: Sequence[TensorConfig],
    outputs: Sequence[TensorConfig],
    max_batch_size: int = 0,
) -> ModelConfig:
    """Return the configuration of an ensemble. `check_config` says whether its parts connect.

    Raises:
        UnsafePathError: `triton_name` cannot be a folder in a repository.
    """
    return ModelConfig(
        name=safe_triton_name(triton_name),
        version_number=version_number,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        backend="",
        max_batch_size=max_batch_size,
        default_model_filename="",
        ensemble_steps=tuple(steps),
    )


def pinned_parts(config: ModelConfig) -> tuple[tuple[str, int], ...]:
    """Return (Triton name, version) of every part, sorted: what must be published, and must not be retired."""
    return tuple(sorted({(step.model_name, step.model_version) for step in config.ensemble_steps}))


def check_ensemble(config: ModelConfig) -> Iterator[Finding]:
    """Yield what keeps an ensemble from working: parts that float, tensors from nowhere, circles."""
    steps = config.ensemble_steps
    if not steps or len(steps) > MAX_STEPS:
        yield _problem("steps", "ensemble_scheduling", f"an ensemble has 1 to {MAX_STEPS} steps", "name its parts")
        return
    if config.backend or config.dynamic_batching or config.sequence_batching or config.instance_groups:
        message = "an ensemble has no backend, batching or instances of its own: its parts have"
        yield _problem("ensemble", "ensemble_scheduling", message, "configure the parts")
    for index, step in enumerate(steps):
        yield from _check_step(step, f"ensemble_scheduling.step[{index}]", config.name)
    yield from _check_flow(config)


def _check_step(step: EnsembleStep, path: str, own_name: str) -> Iterator[Finding]:
    if not step.model_name or step.model_name == own_name:
        yield _problem("ensemble_part", path, "it names no model, or the ensemble itself", "name another model")
    if step.model_version < 1:
        message = f"{step.model_name!a:.100} is asked for in its newest version, which changes under the ensemble"
        yield _problem("ensemble_unpinned", path, message, "name the exact version")
    if not step.input_map or not step.output_map:
        yield _problem("ensemble_maps", path, "it maps no inputs, or no outputs", "map all of them")


def _check_flow(config: ModelConfig) -> Iterator[Finding]:
    steps, path = config.ensemble_steps, "ensemble_scheduling"
    inputs = {tensor.name for tensor in config.inputs}
    produced = Counter(name for step in steps for name in step.output_map.values())
    for name in sorted(name for name, count in produced.items() if count > 1 or name in inputs):
        yield _problem("ensemble_flow", path, f"{name!a:.100} is produced twice", "give the tensors names of their own")
    for tensor in config.outputs:
        if tensor.name not in produced:
            yield _problem("ensemble_flow", path, f"no step produces {tensor.name!a:.100}", "map a step's output to it")
    if waiting := _never_ready(steps, inputs):
        names = ", ".join(sorted({ascii(step.model_name) for step in waiting})[:5])
        message = f"these steps wait for tensors that never come: {names}"
        yield _problem("ensemble_flow", path, message, "connect their inputs, without circles")


def _never_ready(steps: Sequence[EnsembleStep], available: set[str]) -> list[EnsembleStep]:
    """Run the ensemble without data, and return the steps that never start."""
    waiting, known = list(steps), set(available)
    while ready := [step for step in waiting if known.issuperset(step.input_map.values())]:
        known.update(name for step in ready for name in step.output_map.values())
        waiting = [step for step in waiting if step not in ready]
    return waiting


def _problem(kind: str, path: str, message: str, fix: str) -> Finding:
    return Finding(f"config.{kind}", path, message, fix)
