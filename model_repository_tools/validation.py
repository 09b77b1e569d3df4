"""Everything that can be said about a version before it is published, in one list."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model_repository_tools.config import (
    ModelConfig,
    ServingOptions,
    apply_options,
    check_config,
    derive_config,
    read_config,
    reconcile,
    render_config,
)
from model_repository_tools.config.allowed import check_parameters
from model_repository_tools.config.parse import MAX_CONFIG_BYTES
from model_repository_tools.errors import NotServableError
from model_repository_tools.findings import Finding, carries_code, has_errors
from model_repository_tools.inspection import ArtifactKind, Limits, TensorRTPlan, VersionInspection, inspect_version
from model_repository_tools.inspection.tensorrt import check_declaration
from model_repository_tools.inspection.version import CONFIG_FILE
from model_repository_tools.pools import PoolFacts, fits_pool, place

_BACKENDS = {ArtifactKind.TENSORRT: "tensorrt", ArtifactKind.PYTHON: "python"}


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a version's author says about a TensorRT plan, since the file does not tell.

    Attributes:
        tensorrt_version: That built the plan: `10.3.0`.
        compute_capability: Of the GPU it was built on: `8.6`.
        is_version_compatible: It was built with --versionCompatible.
    """

    tensorrt_version: str = ""
    compute_capability: str = ""
    is_version_compatible: bool = False


@dataclass(frozen=True, slots=True)
class Validation:
    """What a version is, the configuration that would serve it, and what is wrong.

    Attributes:
        config: None if none can be made.
        findings: Of inspection, configuration and pool, each once.
    """

    inspection: VersionInspection
    config: ModelConfig | None = None
    findings: tuple[Finding, ...] = field(default=())

    @property
    def carries_code(self) -> bool:
        """True if publishing it means running somebody's code."""
        return carries_code(self.findings)

    def is_publishable(self, *, allow_code: bool = False) -> bool:
        """Tell whether nothing forbids publishing. `allow_code`: somebody answers for the code in it."""
        return self.config is not None and not has_errors(self.findings, allow_code=allow_code)

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return {
            "inspection": {**self.inspection.to_dict(), "network": self.inspection.network.value},
            "config": render_config(self.config) if self.config else None,
            "carries_code": self.carries_code,
            "is_publishable": self.is_publishable(),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def validate_version(
    folder: Path,
    triton_name: str,
    version_number: int,
    *,
    options: ServingOptions | None = None,
    declaration: Declaration | None = None,
    pool: PoolFacts | None = None,
    limits: Limits | None = None,
) -> Validation:
    """Inspect a version's folder, make its configuration, and collect all findings. Nothing in it is executed.

    Args:
        folder: The version's files, and possibly a config.pbtxt, whose choices are taken over as far as they are safe.
        triton_name: The model's folder in the repository, `digits.v3`.
        version_number: The version's folder, `3`.
        options: An operator's choices, over those of the config.pbtxt.
        declaration: For a TensorRT plan.
        pool: If given, the version must fit it, and instances are placed where it has room for them.
        limits: Of the child that looks into the files.

    Raises:
        UnsafePathError: `triton_name` cannot be a folder in a repository.
        OSError: The folder cannot be read.
    """
    inspection = inspect_version(folder, limits)
    findings = list(inspection.findings)
    if inspection.tensorrt is not None:
        plan = _declare(inspection.tensorrt, declaration or Declaration())
        inspection = replace(inspection, tensorrt=plan)
        findings += check_declaration(plan, inspection.model_file)
    config, problems = _configure(inspection, folder, triton_name, version_number)
    findings += problems
    if config is not None:
        config = apply_options(config, options) if options else config
        config = place(config, pool) if pool else config
        findings += [*check_parameters(config.parameters), *check_config(config)]
    if pool is not None:
        findings += fits_pool(inspection, pool, config)
    return Validation(inspection, config, _each_once(findings))


def _declare(plan: TensorRTPlan, declaration: Declaration) -> TensorRTPlan:
    return replace(
        plan,
        declared_version=declaration.tensorrt_version,
        compute_capability=declaration.compute_capability,
        is_version_compatible=declaration.is_version_compatible,
    )


def _configure(
    inspection: VersionInspection, folder: Path, triton_name: str, version_number: int
) -> tuple[ModelConfig | None, list[Finding]]:
    """Return the configuration: the graph's where there is one, with the imported choices over it."""
    imported, findings = _read_imported(inspection, folder, triton_name, version_number)
    onnx = inspection.onnx
    if onnx is None:
        if imported is None and not findings and inspection.kind is not ArtifactKind.UNKNOWN:
            message = f"the inputs and outputs of a {inspection.kind.value} model cannot be read from its file"
            findings = [Finding("config.missing", CONFIG_FILE, message, "add a config.pbtxt that declares them")]
        return imported, [*findings, *_check_match(inspection, imported)]
    if has_errors(onnx.findings):
        return None, findings
    try:
        derived = derive_config(
            onnx, triton_name, version_number, default_model_filename=inspection.model_file or "model.onnx"
        )
    except NotServableError as error:
        return None, [*findings, Finding(error.code, inspection.model_file, str(error))]
    if imported is None:
        return derived, findings
    config, differences = reconcile(derived, imported)
    return config, [*findings, *differences]


def _check_match(inspection: VersionInspection, config: ModelConfig | None) -> Iterator[Finding]:
    """Yield why a configuration would serve something else than what was inspected."""
    backend = _BACKENDS.get(inspection.kind)
    if config is None or backend is None:
        return
    if config.backend != backend:
        message = f"it names the backend {config.backend!a:.60} for a {inspection.kind.value} model"
        yield Finding("config.backend_differs", "backend", message, f"use {backend}")
    if config.default_model_filename != inspection.model_file:
        message = (
            f"it names {config.default_model_filename!a:.100}, what was inspected is {inspection.model_file!a:.100}"
        )
        yield Finding("config.other_model", "default_model_filename", message, "keep one model in a version")


def _read_imported(
    inspection: VersionInspection, folder: Path, triton_name: str, version_number: int
) -> tuple[ModelConfig | None, list[Finding]]:
    if not inspection.has_config:
        return None, []
    with (folder / CONFIG_FILE).open("rb") as file:
        content = file.read(MAX_CONFIG_BYTES + 1)
    text = content.decode("utf-8", "surrogateescape")  # which the schema refuses, in words
    read = read_config(text, triton_name, version_number, files=[name for name, _ in inspection.files])
    return read.config, list(read.findings)


def _each_once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))
