"""What a pool of servers is like, and which versions it can serve."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from model_repository_tools.config import InstanceGroup, InstanceKind, ModelConfig
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.inspection import ArtifactKind, TensorRTPlan, VersionInspection


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What is known of a pool's servers; all of them are alike.

    Attributes:
        tensorrt_version: `10.3.0`; "" if nobody said.
        compute_capabilities: Of its GPUs: `("8.6",)`; empty if nobody said.
        backends: That its servers have; empty if nobody said.
    """

    has_gpu: bool = False
    tensorrt_version: str = ""
    compute_capabilities: tuple[str, ...] = ()
    backends: frozenset[str] = frozenset()


def place(config: ModelConfig, pool: PoolFacts) -> ModelConfig:
    """Return `config` with instances where the pool has a place for them.

    Groups that leave the choice (`KIND_AUTO`) go to the GPUs there are, else to the CPU; the others stay as they are.
    An ensemble has no instances.
    """
    if config.ensemble_steps:
        return config
    kind = InstanceKind.GPU if pool.has_gpu else InstanceKind.CPU
    groups = config.instance_groups or (InstanceGroup(),)
    chosen = (replace(group, kind=kind) if group.kind is InstanceKind.AUTO else group for group in groups)
    return replace(config, instance_groups=tuple(chosen))


def fits_pool(inspection: VersionInspection, pool: PoolFacts, config: ModelConfig | None = None) -> list[Finding]:
    """Say in words why a pool cannot serve a version; an empty list means: nothing speaks against it."""
    findings: list[Finding] = []
    if inspection.kind is ArtifactKind.TENSORRT and inspection.tensorrt is not None:
        findings += _check_plan(inspection.tensorrt, inspection.model_file, pool)
    if config is not None:
        findings += _check_config(config, pool)
    return findings


def _check_plan(plan: TensorRTPlan, path: str, pool: PoolFacts) -> Iterator[Finding]:
    rebuild = "build the plan on a GPU and with the TensorRT of this pool, or publish to another pool"
    if not pool.has_gpu:
        yield _misfit("tensorrt_needs_gpu", path, "a TensorRT plan runs only on a GPU, this pool has none", rebuild)
        return
    if not plan.version or not pool.tensorrt_version:
        missing = "the plan" if not plan.version else "the pool"
        message = f"nobody says which TensorRT {missing} is made for"
        yield _misfit("tensorrt_unknown", path, message, "declare the version")
    elif not _can_run(plan, pool.tensorrt_version):
        message = f"the plan was built by TensorRT {plan.version}, the pool's servers run {pool.tensorrt_version}"
        yield _misfit("tensorrt_version", path, message, rebuild)
    if not plan.compute_capability or not pool.compute_capabilities:
        missing = "the plan" if not plan.compute_capability else "the pool"
        message = f"nobody says which compute capability {missing} is made for"
        yield _misfit("compute_capability_unknown", path, message, "declare it, for instance 8.6")
    elif set(pool.compute_capabilities) != {plan.compute_capability}:
        message = (
            f"the plan was built for compute capability {plan.compute_capability}, "
            f"the pool's GPUs have {', '.join(pool.compute_capabilities)}"
        )
        yield _misfit("compute_capability", path, message, rebuild)


def _can_run(plan: TensorRTPlan, version: str) -> bool:
    """A plan runs on the TensorRT that built it; a version-compatible one also on later ones of the same major.

    Source: "Version Compatibility" in NVIDIA's TensorRT developer guide.
    """
    built, serving = _numbers(plan.version), _numbers(version)
    length = min(len(built), len(serving), 3)
    if built[:length] == serving[:length] and length:
        return True
    return plan.is_version_compatible and built[:1] == serving[:1] and built <= serving


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isascii() and part.isdigit() and len(part) < 6)


def _check_config(config: ModelConfig, pool: PoolFacts) -> Iterator[Finding]:
    if pool.backends and config.backend and config.backend not in pool.backends:
        message = f"its servers have no backend {config.backend!a:.60}, only {', '.join(sorted(pool.backends))}"
        yield _misfit("backend", "backend", message, "publish to another pool")
    for group in config.instance_groups:
        if group.kind is InstanceKind.GPU and not pool.has_gpu:
            message = "instances are asked for on GPUs, this pool has none"
            yield _misfit("no_gpu", "instance_group", message, "use KIND_AUTO or KIND_CPU")
    if config.gpu_accelerators and not pool.has_gpu:
        message = "it is accelerated on GPUs, this pool has none"
        yield Finding("pool.no_gpu", "gpu_execution_accelerator", message, "", Severity.WARNING)


def _misfit(kind: str, path: str, message: str, fix: str) -> Finding:
    return Finding(f"pool.{kind}", path, message, fix)
