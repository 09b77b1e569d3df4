"""From files to a validated version.

Bytes go into the store first, outside any transaction; a version's rows appear in one transaction; inspecting them,
which is slow and may meet hostile input, happens in a child process between the two writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from django.db import IntegrityError, transaction

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.registry.artifacts import StoredArtifact, artifact_store
from controlplane.registry.domain import CODE_FINDINGS, VersionState
from controlplane.registry.errors import AlreadyExistsError, ArtifactRefusedError
from controlplane.registry.models import Artifact, GoldenSample, ModelVersion, RegisteredModel, VersionFile
from controlplane.registry.reference import reference_sample
from controlplane.registry.selectors import manifest_of
from controlplane.registry.services import allocate_number, check_semver, move_version
from model_repository_tools.config import ModelConfig, derive_config, render_config
from model_repository_tools.errors import ModelRepositoryError
from model_repository_tools.findings import Finding, has_errors
from model_repository_tools.golden import GoldenSample as SampleValue
from model_repository_tools.inspection import OnnxInspection, inspect_untrusted
from model_repository_tools.paths import safe_relative_paths
from model_repository_tools.repository.files import place_file

MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class VersionDraft:
    """What a new version is made of.

    Attributes:
        semver: the version for people.
        files: path inside the version's folder -> its bytes, or what they are in the store already. The graph is
            ``model.onnx``.
        golden_samples: requests with known answers, in the form `model_repository_tools.golden.GoldenSample` reads.
        metrics: what its author measured, e.g. ``{"accuracy": 0.97}``.
        source: where it came from, for people.
        memory_bytes: what it needs once loaded; None: the size of its files is taken.
        parts: the versions an ensemble is made of.
    """

    semver: str
    files: Mapping[str, BinaryIO | StoredArtifact]
    golden_samples: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    dataset_notes: str = ""
    source: str = ""
    memory_bytes: int | None = None
    parts: Sequence[ModelVersion] = ()


def check_draft(
    model: RegisteredModel, *, semver: str, golden_samples: list[dict[str, Any]], paths: Collection[str] | None
) -> None:
    """Lets a version pass whose names and samples are good, as far as that can be told without its bytes.

    Args:
        model: whose version it would be.
        semver: the version for people.
        golden_samples: requests with known answers.
        paths: the names of its files; None where they are not known yet.

    Raises:
        InvalidNameError: the semver is none.
        AlreadyExistsError: the model has a usable version of that semver.
        ArtifactRefusedError: a file's name is not safe, there is no graph, or a golden sample cannot be read.
    """
    check_semver(semver)
    _check_semver_free(model, semver)
    _read_samples(golden_samples)
    if paths is not None:
        _check_names(paths)


def discard_draft(version: ModelVersion) -> None:
    """Removes a draft whose import never came to its end, so that its semver is free again; its number is not."""
    ModelVersion.objects.filter(pk=version.pk, state=VersionState.DRAFT).delete()


def import_version(
    actor: Actor,
    *,
    model: RegisteredModel,
    draft: VersionDraft,
    drafted: Callable[[ModelVersion], None] = lambda _: None,
) -> ModelVersion:
    """Stores a new version, inspects it and derives its configuration.

    A version that was refused may be imported again under the same semver; it gets a new number, because numbers are
    never reused for other bytes.

    Args:
        actor: who imports.
        model: what it is a version of.
        draft: what the version is made of.
        drafted: called once the version's rows are there, in the transaction that makes them.

    Returns:
        The version, validated.

    Raises:
        PermissionMissingError: the actor may not manage models.
        InvalidNameError: the semver is none.
        AlreadyExistsError: the model has a usable version of that semver.
        ArtifactRefusedError: the files cannot be served; the version is kept as failed, with the findings.
    """
    actor.require(Permission.MANAGE_MODELS)
    check_draft(model, semver=draft.semver, golden_samples=draft.golden_samples, paths=draft.files)
    samples = _read_samples(draft.golden_samples)
    stored = _store_files(draft.files)
    with transaction.atomic():
        version = _create_draft(actor, model, draft, stored, samples)
        drafted(version)
    reference: list[SampleValue] = []
    with _graph_of(version) as graph:
        inspection = inspect_untrusted(graph)
        findings = [*inspection.findings, *_check_samples(inspection, samples)]
        if not samples and not has_errors(findings):
            reference, more = _reference(version, inspection, graph)
            findings += more
    _settle(actor, version, inspection, findings, reference)
    if version.state == VersionState.FAILED:
        raise ArtifactRefusedError(
            f"Version {version.semver} cannot be served: {version.failure}.", details={"findings": version.findings}
        )
    return version


def configuration_of(version: ModelVersion, inspection: OnnxInspection | None = None) -> ModelConfig:
    """The configuration derived from what inspection found, before any pool's settings."""
    inspection = inspection or OnnxInspection.from_dict(version.inspection)
    return derive_config(inspection, version.triton_name, version.number, default_model_filename=MODEL_FILE)


def samples_of(version: ModelVersion) -> list[SampleValue]:
    """A version's golden samples as values."""
    return [
        SampleValue.from_dict(
            {
                "inputs": sample.inputs,
                "outputs": sample.outputs,
                "tolerance": {"absolute": sample.absolute_tolerance, "relative": sample.relative_tolerance},
                "origin": sample.origin,
            }
        )
        for sample in version.golden_samples.all()
    ]


def _check_semver_free(model: RegisteredModel, semver: str) -> None:
    if model.versions.filter(semver=semver).exclude(state=VersionState.FAILED).exists():
        raise AlreadyExistsError(
            f"Model {model.slug!r} has a version {semver} already, and versions never change: choose a new number.",
            code="version.exists",
        )


def _read_samples(samples: list[dict[str, Any]]) -> list[SampleValue]:
    try:
        return [SampleValue.from_dict(sample) for sample in samples]
    except ModelRepositoryError as error:
        raise ArtifactRefusedError(f"A golden sample cannot be read: {error}.", code=error.code) from error


def _check_names(files: Collection[str]) -> None:
    try:
        safe_relative_paths(files)
    except ModelRepositoryError as error:
        raise ArtifactRefusedError(f"A file name is not safe: {error}.", code=error.code) from error
    if MODEL_FILE not in files:
        raise ArtifactRefusedError(f"A version needs a file {MODEL_FILE!r}.", code="artifact.no_model")


def _store_files(files: Mapping[str, BinaryIO | StoredArtifact]) -> dict[str, StoredArtifact]:
    store = artifact_store()
    return {path: source if isinstance(source, StoredArtifact) else store.put(source) for path, source in files.items()}


def _create_draft(
    actor: Actor,
    model: RegisteredModel,
    draft: VersionDraft,
    stored: Mapping[str, StoredArtifact],
    samples: list[SampleValue],
) -> ModelVersion:
    number = allocate_number(model)
    model.versions.filter(semver=draft.semver, state=VersionState.FAILED, publications=None).delete()
    try:
        with transaction.atomic():
            version = ModelVersion.objects.create(
                model=model,
                semver=draft.semver,
                number=number,
                metrics=draft.metrics,
                dataset_notes=draft.dataset_notes,
                source=draft.source,
                size_bytes=sum(file.size_bytes for file in stored.values()),
                memory_bytes=draft.memory_bytes,
                created_by=actor.name,
                created_by_user_id=actor.user_id,
            )
    except IntegrityError:
        raise AlreadyExistsError(
            f"Version {draft.semver} of {model.slug!r} exists already; choose a new number.", code="version.exists"
        ) from None
    version.parts.set(draft.parts)
    for path, file in stored.items():
        artifact, _ = Artifact.objects.get_or_create(sha256=file.sha256, defaults={"size_bytes": file.size_bytes})
        VersionFile.objects.create(version=version, path=path, artifact=artifact)
    _add_samples(version, samples)
    version.digest = manifest_of(version).digest
    version.save(update_fields=["digest"])
    record(
        actor,
        action="registry.import_version",
        target=version,
        after={"semver": version.semver, "number": number, "digest": version.digest},
    )
    return version


def _add_samples(version: ModelVersion, samples: list[SampleValue]) -> None:
    GoldenSample.objects.bulk_create(
        GoldenSample(
            version=version,
            name=f"sample {index}",
            inputs=list(sample.inputs),
            outputs=list(sample.outputs),
            absolute_tolerance=sample.tolerance.absolute,
            relative_tolerance=sample.tolerance.relative,
            origin=sample.origin.value,
        )
        for index, sample in enumerate(samples, start=1)
    )


@contextmanager
def _graph_of(version: ModelVersion) -> Iterator[Path]:
    """The version's graph, with its other files beside it under their own names."""
    store = artifact_store()
    with store.workspace() as folder, ExitStack() as files:
        for file in version.files.select_related("artifact"):
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            place_file(files.enter_context(store.local(file.artifact.sha256)), target)
        yield folder / MODEL_FILE


def _reference(
    version: ModelVersion, inspection: OnnxInspection, graph: Path
) -> tuple[list[SampleValue], list[Finding]]:
    """A golden sample for a version without one, where its graph can be configured at all."""
    try:
        config = configuration_of(version, inspection)
    except ModelRepositoryError:
        return [], []  # said when the configuration is made
    sample, findings = reference_sample(graph, inspection, config)
    return [sample] if sample else [], findings


def _check_samples(inspection: OnnxInspection, samples: list[SampleValue]) -> list[Finding]:
    """A sample that does not even name the model's inputs would fail every publication; say so now."""
    if has_errors(inspection.findings):
        return []
    known = {spec.name: spec.dtype.value for spec in inspection.inputs}
    findings = []
    for index, sample in enumerate(samples, start=1):
        given = {tensor["name"]: tensor["datatype"] for tensor in sample.inputs}
        if given != known:
            findings.append(
                Finding(
                    "golden.inputs",
                    f"golden sample {index}",
                    f"has the inputs {given}, the model has {known}",
                    "give every input of the model, with its data type",
                )
            )
    return findings


@transaction.atomic
def _settle(
    actor: Actor,
    version: ModelVersion,
    inspection: OnnxInspection,
    findings: list[Finding],
    reference: list[SampleValue],
) -> None:
    _add_samples(version, reference)
    failure = "; ".join(f"{finding.path}: {finding.message}" for finding in findings if has_errors([finding]))
    if not failure:
        try:
            config = configuration_of(version, inspection)
            version.config, version.max_batch_size = render_config(config), config.max_batch_size
        except ModelRepositoryError as error:
            failure = str(error)
            findings = [*findings, Finding(error.code, MODEL_FILE, str(error))]
    version.inspection = inspection.to_dict()
    version.findings = [finding.to_dict() for finding in findings]
    version.inputs = [spec.to_dict() for spec in inspection.inputs]
    version.outputs = [spec.to_dict() for spec in inspection.outputs]
    version.carries_code = any(finding.code.startswith(CODE_FINDINGS) for finding in findings)
    derived = ["config", "max_batch_size", "inspection", "findings", "inputs", "outputs", "carries_code"]
    version.save(update_fields=derived)
    move_version(version, VersionState.FAILED if failure else VersionState.VALIDATED, failure=failure)
    record(
        actor, action="registry.validate_version", target=version, after={"state": version.state, "failure": failure}
    )
    touch("model", [version.model.slug])
