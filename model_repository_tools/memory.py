"""Whether a version will fit into what a server has left."""

from dataclasses import dataclass
from enum import StrEnum

from model_repository_tools.config import ModelConfig
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.inspection import VersionInspection

RUNTIME_BYTES = 64 << 20  # a rough allowance for a process with a session but without a model
WORKING_RATIO = 1.5  # weights, and room for activations
TIGHT_RATIO = 0.8


class MemorySource(StrEnum):
    """Where a number comes from, the best first: seen on a server, said by the author, or guessed from the files."""

    MEASURED = "measured"
    DECLARED = "declared"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that one server needs, for all instances of a version, and how that is known."""

    size_bytes: int
    source: MemorySource


def memory_need(
    inspection: VersionInspection,
    config: ModelConfig | None = None,
    *,
    declared_bytes: int | None = None,
    measured_bytes: int | None = None,
    devices: int = 1,
) -> MemoryNeed:
    """Return what a version needs: as measured, else as declared, else estimated from its files.

    Args:
        inspection: Of the version.
        config: For the number of instances; each holds weights of its own.
        declared_bytes: What its author says it needs.
        measured_bytes: What it took on a server like this one.
        devices: GPUs of the server: a group on GPUs that names none has its instances on each.
    """
    if measured_bytes is not None:
        return MemoryNeed(measured_bytes, MemorySource.MEASURED)
    if declared_bytes is not None:
        return MemoryNeed(declared_bytes, MemorySource.DECLARED)
    model_bytes = max(inspection.size_bytes, inspection.onnx.weight_bytes if inspection.onnx else 0)
    instances = _instances(config, devices)
    return MemoryNeed(int(instances * (RUNTIME_BYTES + WORKING_RATIO * model_bytes)), MemorySource.ESTIMATED)


def check_memory(need: MemoryNeed, free_bytes: int) -> list[Finding]:
    """Say whether a server with `free_bytes` left can take a version, while everything else stays loaded.

    A number that was measured or declared is believed; an estimate alone only warns when it is tight.
    """
    numbers = f"it needs {need.size_bytes:,} bytes ({need.source.value}), the server has {free_bytes:,} left"
    if need.size_bytes > free_bytes:
        fix = "retire another version first, lower the number of instances, or publish to another pool"
        return [Finding("memory.insufficient", "", numbers, fix)]
    if need.source is MemorySource.ESTIMATED and need.size_bytes > TIGHT_RATIO * free_bytes:
        fix = "declare what it needs, or watch the server while it loads"
        return [Finding("memory.tight", "", numbers, fix, Severity.WARNING)]
    return []


def _instances(config: ModelConfig | None, devices: int) -> int:
    groups = config.instance_groups if config else ()
    return sum(group.count * (len(group.gpus) or devices) for group in groups) or 1
