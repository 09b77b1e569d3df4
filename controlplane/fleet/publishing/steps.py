"""The steps of a publication.

Each step looks at how things are and brings them to where it wants them, so it may be run again after a crash at any
point, by any worker. None of them touches a model that is serving: every version is a Triton model of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from django.db import transaction

from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.fleet.domain import Health, PlacementState, PublicationStep, ServerState
from controlplane.fleet.errors import StepFailedError, TritonRefusedError, TritonUnavailableError
from controlplane.fleet.models import Placement, Publication, Server
from controlplane.fleet.triton import TritonClient, clean_reason
from controlplane.registry.artifacts import artifact_store
from controlplane.registry.domain import VersionState
from controlplane.registry.importing import configuration_of, manifest_of, samples_of
from controlplane.registry.services import move_version
from model_repository_tools.config import InstanceGroup, InstanceKind, render_config
from model_repository_tools.golden import compare, infer_request, warm_up
from model_repository_tools.manifest import Manifest, verify
from model_repository_tools.repository.folder import FolderRepository, StagedVersion

logger = logging.getLogger(__name__)

READY_TIMEOUT_S = 120.0
_POLL_S = 0.05


@dataclass(frozen=True)
class StepContext:
    """What a step works on.

    Attributes:
        publication: the publication, with version, model and pool.
        actor: on whose behalf the worker writes.
        checkpoint: to be called where a step waits; raises when the publication was cancelled or taken over.
    """

    publication: Publication
    actor: Actor
    checkpoint: Callable[[], None]

    @property
    def triton_name(self) -> str:
        """The version's model name in Triton."""
        return self.publication.version.triton_name

    @property
    def repository(self) -> FolderRepository:
        """The pool's model repository."""
        return FolderRepository(Path(self.publication.pool.repository))

    @property
    def stage_id(self) -> str:
        """Names this publication's stage beside the repository."""
        return f"publication-{self.publication.pk}"

    def servers(self) -> list[Server]:
        """The pool's servers that should serve the version now.

        Raises:
            StepFailedError: there is none.
        """
        servers = list(self.publication.pool.servers.exclude(state=ServerState.CORDONED).exclude(health=Health.DOWN))
        if not servers:
            raise StepFailedError(
                f"Pool {self.publication.pool.slug!r} has no server that is up and not cordoned; start one and retry."
            )
        return servers


def stage_files(context: StepContext) -> str:
    """Builds the version's folder beside the repository, its configuration made for this pool included."""
    repository, version = context.repository, context.publication.version
    if repository.contains(context.triton_name):
        return "already in the repository"
    if context.publication.manifest and _find_stage(context) is not None:
        return "already staged"
    config = configuration_of(version)
    warm_up_files: dict[str, bytes] = {}
    kind = InstanceKind.GPU if context.publication.pool.gpu else InstanceKind.CPU
    config = replace(config, instance_groups=(InstanceGroup(kind),))
    if samples := samples_of(version):
        request, warm_up_files = warm_up(samples[0], config)
        config = replace(config, warm_ups=(request,))
    store = artifact_store()
    with ExitStack() as files:
        sources = {
            file.path: files.enter_context(store.local(file.artifact.sha256))
            for file in version.files.select_related("artifact")
        }
        staged = repository.stage(
            context.stage_id,
            context.triton_name,
            version.number,
            files=sources,
            config_text=render_config(config),
            warm_up=warm_up_files,
        )
    context.publication.manifest = _as_json(staged.manifest)
    context.publication.save(update_fields=["manifest"])
    return f"{len(staged.manifest.entries)} files, {staged.manifest.size_bytes} bytes"


def verify_files(context: StepContext) -> str:
    """Compares what was staged with what the registry and the publication say, byte for byte."""
    if context.repository.contains(context.triton_name):
        return "already in the repository"
    staged, version = _require_stage(context), context.publication.version
    expected = _from_json(context.publication.manifest)
    findings = verify(expected, staged.path)
    registered = {(entry.path, entry.sha256) for entry in manifest_of(version).entries}
    prefix = f"{version.number}/"
    staged_files = {
        (entry.path.removeprefix(prefix), entry.sha256)
        for entry in staged.manifest.entries
        if entry.path.startswith(prefix)
    }
    if findings or staged_files != registered:
        context.repository.discard_stage(context.stage_id)
        reason = "; ".join(f"{finding.path} {finding.message}" for finding in findings) or "other bytes than registered"
        raise StepFailedError(f"The staged files are not what was registered ({reason}). Retry the publication.")
    return f"manifest {staged.manifest.digest[:12]}"


def commit_files(context: StepContext) -> str:
    """Moves the staged folder into the repository by one rename."""
    repository, expected = context.repository, _from_json(context.publication.manifest)
    staged = _find_stage(context)
    if staged is not None:
        repository.commit(staged)
    elif not repository.contains(context.triton_name):
        raise StepFailedError("The staged files are gone; retry the publication.")
    if (found := repository.read_manifest(context.triton_name)) != expected:
        raise StepFailedError(
            f"{context.triton_name} lies in the repository with other bytes (manifest {found.digest[:12]}). "
            "Somebody changed it by hand: remove it and retry."
        )
    return f"manifest {expected.digest[:12]}"


def load_on_servers(context: StepContext) -> str:
    """Loads the version on each server."""
    for server in context.servers():
        context.checkpoint()
        with TritonClient(server) as triton:
            try:
                triton.load(context.triton_name)
            except TritonRefusedError as error:
                _note(server, context.publication, PlacementState.FAILED, error.message)
                raise
    return ", ".join(server.name for server in context.servers())


def withdraw(context: StepContext) -> None:
    """Undoes a publication that did not succeed: what lies in the repository is exactly what should be loaded.

    A version that was published before stays: it is serving.
    """
    context.publication.version.refresh_from_db()
    if context.publication.version.state == VersionState.PUBLISHED:
        return
    context.repository.discard_stage(context.stage_id)
    if not context.repository.contains(context.triton_name):
        return
    context.repository.retire(context.triton_name)
    context.repository.discard_retired(context.triton_name)
    for server in context.publication.pool.servers.all():
        with TritonClient(server) as triton:
            try:
                triton.unload(context.triton_name)
            except (TritonRefusedError, TritonUnavailableError) as error:
                logger.warning("%s stays loaded on %s: %s", context.triton_name, server.name, error.message)


def wait_until_ready(context: StepContext) -> str:
    """Waits until exactly this version takes requests on each server; the answer to the load call proves nothing."""
    version = context.publication.version
    started = time.monotonic()
    for server in context.servers():
        with TritonClient(server) as triton:
            while not triton.is_ready(context.triton_name, version.number):
                context.checkpoint()
                if time.monotonic() - started > READY_TIMEOUT_S:
                    raise StepFailedError(f"Not ready on {server.name} after {READY_TIMEOUT_S:.0f} s. See its log.")
                time.sleep(_POLL_S)
        _note(server, context.publication, PlacementState.READY)
    return f"ready after {time.monotonic() - started:.2f} s"


def prove_by_golden_requests(context: StepContext) -> str:
    """Sends every golden request to every server and compares the answers within tolerance."""
    version, samples = context.publication.version, samples_of(context.publication.version)
    for server in context.servers():
        with TritonClient(server) as triton:
            for index, sample in enumerate(samples, start=1):
                context.checkpoint()
                answer = triton.infer(context.triton_name, version.number, infer_request(sample))
                if findings := compare(sample.outputs, answer.get("outputs", []), sample.tolerance):
                    text = clean_reason("; ".join(finding.message for finding in findings))
                    raise StepFailedError(f"Golden request {index} on {server.name}: {text}")
    return f"{len(samples)} golden requests" if samples else "no golden sample given"


@transaction.atomic
def open_to_requests(context: StepContext) -> str:
    """Lets the gateways route to the version; from here on it is published."""
    version = context.publication.version
    names = []
    for server in context.servers():
        Placement.objects.filter(server=server, version=version).update(proven=True)
        names.append(server.name)
    version.refresh_from_db()
    if version.state != VersionState.PUBLISHED:
        move_version(version, VersionState.PUBLISHED)
        record(context.actor, action="fleet.version_published", target=version, after={"servers": names})
    touch("model", [version.model.slug])
    return ", ".join(names)


STEPS: dict[PublicationStep, Callable[[StepContext], str]] = {
    PublicationStep.STAGE: stage_files,
    PublicationStep.VERIFY: verify_files,
    PublicationStep.COMMIT: commit_files,
    PublicationStep.LOAD: load_on_servers,
    PublicationStep.READY: wait_until_ready,
    PublicationStep.GOLDEN: prove_by_golden_requests,
    PublicationStep.ROUTE: open_to_requests,
}
"""In the order they are run. Each returns a sentence for people."""


def _note(server: Server, publication: Publication, state: PlacementState, reason: str = "") -> None:
    seen = {"state": state, "reason": reason}
    Placement.objects.update_or_create(server=server, version=publication.version, defaults=seen)


def _find_stage(context: StepContext) -> StagedVersion | None:
    return context.repository.find_stage(context.stage_id)


def _require_stage(context: StepContext) -> StagedVersion:
    staged = _find_stage(context)
    if staged is None:
        raise StepFailedError("The staged files are gone; retry the publication.")
    return staged


def _as_json(manifest: Manifest) -> dict[str, object]:
    files = [{"path": entry.path, "sha256": entry.sha256, "size": entry.size_bytes} for entry in manifest.entries]
    return {"digest": manifest.digest, "files": files}


def _from_json(value: dict[str, list[dict[str, object]]]) -> Manifest:
    return Manifest.of_entries(
        (str(file["path"]), str(file["sha256"]), int(str(file["size"]))) for file in value.get("files", [])
    )
