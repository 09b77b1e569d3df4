from dataclasses import replace

import pytest

from model_repository_tools.config import InstanceGroup, InstanceKind
from model_repository_tools.findings import Finding
from model_repository_tools.inspection import VersionInspection
from model_repository_tools.memory import (
    RUNTIME_BYTES,
    WORKING_RATIO,
    MemoryNeed,
    MemorySource,
    check_memory,
    memory_need,
)
from tests.model_repository_tools.config.test_options import CONFIG

GIB = 1 << 30
ONE = VersionInspection(files=(("model.onnx", GIB),))
ESTIMATE = int(RUNTIME_BYTES + WORKING_RATIO * GIB)


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def test_the_best_number_there_is_counts() -> None:
    assert memory_need(ONE) == MemoryNeed(ESTIMATE, MemorySource.ESTIMATED)
    assert memory_need(ONE, declared_bytes=5) == MemoryNeed(5, MemorySource.DECLARED)
    assert memory_need(ONE, declared_bytes=5, measured_bytes=7) == MemoryNeed(7, MemorySource.MEASURED)


@pytest.mark.parametrize(
    ("groups", "devices", "instances"),
    [
        ((), 4, 1),
        ((InstanceGroup(InstanceKind.CPU, 3),), 1, 3),
        ((InstanceGroup(InstanceKind.GPU, 2, (0, 1)),), 8, 4),
        ((InstanceGroup(InstanceKind.GPU, 2),), 8, 16),
        ((InstanceGroup(count=1), InstanceGroup(count=2)), 1, 3),
    ],
)
def test_each_instance_holds_weights_of_its_own(
    groups: tuple[InstanceGroup, ...], devices: int, instances: int
) -> None:
    need = memory_need(ONE, replace(CONFIG, instance_groups=groups), devices=devices)
    assert need.size_bytes == instances * ESTIMATE


@pytest.mark.parametrize(
    ("need", "free", "expected"),
    [
        (MemoryNeed(100, MemorySource.MEASURED), 100, []),
        (MemoryNeed(101, MemorySource.MEASURED), 100, ["memory.insufficient"]),
        (MemoryNeed(100, MemorySource.DECLARED), 100, []),
        (MemoryNeed(101, MemorySource.ESTIMATED), 100, ["memory.insufficient"]),
        (MemoryNeed(81, MemorySource.ESTIMATED), 100, ["memory.tight"]),
        (MemoryNeed(80, MemorySource.ESTIMATED), 100, []),
    ],
)
def test_a_version_that_does_not_fit_is_a_finding_in_numbers(need: MemoryNeed, free: int, expected: list[str]) -> None:
    findings = check_memory(need, free)
    assert codes(findings) == expected
    assert all(str(free) in finding.message for finding in findings)
