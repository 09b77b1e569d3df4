from dataclasses import replace

import pytest

from model_repository_tools.config import InstanceGroup, InstanceKind
from model_repository_tools.findings import Finding
from model_repository_tools.inspection import ArtifactKind, TensorRTPlan, VersionInspection
from model_repository_tools.pools import PoolFacts, fits_pool, place
from tests.model_repository_tools.config.test_check import ENSEMBLE
from tests.model_repository_tools.config.test_options import CONFIG

PLAN = TensorRTPlan("10.3.0.26", "", "8.6")
POOL = PoolFacts(has_gpu=True, tensorrt_version="10.3.0", compute_capabilities=("8.6",))


def codes(plan: TensorRTPlan, pool: PoolFacts) -> list[str]:
    return [finding.code for finding in check(plan, pool)]


def check(plan: TensorRTPlan, pool: PoolFacts) -> list[Finding]:
    return fits_pool(VersionInspection(ArtifactKind.TENSORRT, "model.plan", tensorrt=plan), pool)


@pytest.mark.parametrize(
    ("plan", "pool"),
    [
        (PLAN, POOL),
        (PLAN, replace(POOL, tensorrt_version="10.3.0.30")),
        (replace(PLAN, header_version="", declared_version="10.3"), POOL),
        (replace(PLAN, is_version_compatible=True), replace(POOL, tensorrt_version="10.9.1")),
    ],
)
def test_a_plan_that_matches_fits(plan: TensorRTPlan, pool: PoolFacts) -> None:
    assert codes(plan, pool) == []


@pytest.mark.parametrize(
    ("plan", "pool", "code"),
    [
        (PLAN, replace(POOL, tensorrt_version="10.4.0"), "pool.tensorrt_version"),
        (PLAN, replace(POOL, tensorrt_version="8.6.1"), "pool.tensorrt_version"),
        (
            replace(PLAN, is_version_compatible=True),
            replace(POOL, tensorrt_version="10.2.0"),
            "pool.tensorrt_version",
        ),
        (
            replace(PLAN, is_version_compatible=True),
            replace(POOL, tensorrt_version="11.0.0"),
            "pool.tensorrt_version",
        ),
        (PLAN, replace(POOL, tensorrt_version="nonsense"), "pool.tensorrt_version"),
        (PLAN, replace(POOL, tensorrt_version=""), "pool.tensorrt_unknown"),
        (replace(PLAN, header_version=""), POOL, "pool.tensorrt_unknown"),
        (PLAN, replace(POOL, compute_capabilities=("9.0",)), "pool.compute_capability"),
        (PLAN, replace(POOL, compute_capabilities=("8.6", "9.0")), "pool.compute_capability"),
        (PLAN, replace(POOL, compute_capabilities=()), "pool.compute_capability_unknown"),
        (replace(PLAN, compute_capability=""), POOL, "pool.compute_capability_unknown"),
        (PLAN, PoolFacts(), "pool.tensorrt_needs_gpu"),
    ],
)
def test_a_plan_that_does_not_match_is_refused_in_words(plan: TensorRTPlan, pool: PoolFacts, code: str) -> None:
    (finding,) = check(plan, pool)
    assert finding.code == code
    assert len(finding.message) > 30
    assert finding.fix


def test_the_words_name_both_sides() -> None:
    (finding,) = check(PLAN, replace(POOL, tensorrt_version="10.4.0"))
    assert "10.3.0.26" in finding.message
    assert "10.4.0" in finding.message


def test_instances_are_placed_where_the_pool_has_room() -> None:
    gpu, cpu = PoolFacts(has_gpu=True), PoolFacts()
    assert place(CONFIG, gpu).instance_groups == (InstanceGroup(InstanceKind.GPU),)
    assert place(CONFIG, cpu).instance_groups == (InstanceGroup(InstanceKind.CPU),)
    chosen = replace(CONFIG, instance_groups=(InstanceGroup(count=3), InstanceGroup(InstanceKind.CPU)))
    assert [(g.kind, g.count) for g in place(chosen, gpu).instance_groups] == [
        (InstanceKind.GPU, 3),
        (InstanceKind.CPU, 1),
    ]
    assert place(ENSEMBLE, gpu) == ENSEMBLE


def test_a_configuration_that_asks_for_what_a_pool_lacks_is_refused() -> None:
    inspection = VersionInspection(ArtifactKind.ONNX)
    config = replace(CONFIG, instance_groups=(InstanceGroup(InstanceKind.GPU),))
    assert [f.code for f in fits_pool(inspection, PoolFacts(), config)] == ["pool.no_gpu"]
    pool = PoolFacts(backends=frozenset({"tensorrt"}))
    assert [f.code for f in fits_pool(inspection, pool, CONFIG)] == ["pool.backend"]
    assert fits_pool(inspection, PoolFacts(backends=frozenset({"onnxruntime"})), CONFIG) == []
