"""Steps that bring a version's files into a pool's repository: from the artifact store, or back from the attic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from controlplane.fleet.errors import StepFailedError
from controlplane.fleet.publishing.context import StepContext, manifest_as_json, manifest_from_json
from controlplane.registry.artifacts import artifact_store
from controlplane.registry.errors import SignatureInvalidError
from controlplane.registry.importing import configuration_of, samples_of
from controlplane.registry.selectors import manifest_of
from controlplane.registry.services import check_signature, sign_version
from controlplane.registry.signing import version_signer
from model_repository_tools.config import InstanceGroup, InstanceKind, render_config
from model_repository_tools.golden import warm_up
from model_repository_tools.manifest import Manifest, verify
from model_repository_tools.repository.folder import StagedVersion

CONFIG_FILE = "config.pbtxt"
WARM_UP_FOLDER = "warmup"


def stage_files(context: StepContext) -> str:
    """Builds the version's folder beside the repository and signs what must lie in it.

    The manifest is made of what the registry and the generated configuration say, not of what the disk holds: whatever
    changes on disk afterwards, or changed in the store before, differs from it.
    """
    publication = context.publication
    sign_version(context.actor, version=publication.version)
    if context.repository.contains(context.triton_name):
        _adopt(context)
        return "already in the repository"
    if publication.signature and _find_stage(context) is not None:
        return "already staged"
    config, warm_up_files = _configuration(context)
    manifest = _manifest(context, config, warm_up_files)
    publication.manifest = manifest_as_json(manifest)
    publication.signature = version_signer().sign(context.statement(manifest))
    publication.save(update_fields=["manifest", "signature"])
    _stage(context, config, warm_up_files)
    return f"{len(manifest.entries)} files, {manifest.size_bytes} bytes, signed by {publication.signature['key_id']}"


def verify_files(context: StepContext) -> str:
    """Checks both signatures, and compares what was staged with what they vouch for, byte for byte."""
    expected = context.signed_manifest()
    try:
        check_signature(context.publication.version)
    except SignatureInvalidError as error:
        raise StepFailedError(error.message, code=error.code) from error
    _require_registered(context, expected)
    if context.repository.contains(context.triton_name):
        return "already in the repository"
    staged = _require_stage(context)
    if staged.manifest != expected:
        findings = verify(expected, staged.path)
        context.repository.discard_stage(context.stage_id)
        reason = "; ".join(finding.message for finding in findings)
        raise StepFailedError(f"The staged files are not what was signed ({reason}). Retry the publication.")
    return f"manifest {expected.digest[:12]}, signed by {context.publication.signature['key_id']}"


def commit_files(context: StepContext) -> str:
    """Moves the staged folder into the repository by one rename, right after one more look at its bytes."""
    repository, expected = context.repository, context.signed_manifest()
    staged = _find_stage(context)
    if staged is not None and staged.manifest == expected:
        repository.commit(staged)
        return f"manifest {expected.digest[:12]}"
    if staged is not None:
        repository.discard_stage(context.stage_id)
        raise StepFailedError("The staged files changed after they were verified. Retry the publication.")
    if not repository.contains(context.triton_name):
        raise StepFailedError("The staged files are gone; retry the publication.")
    _require_in_repository(context, expected)
    return f"manifest {expected.digest[:12]}, already in the repository"


def return_from_attic(context: StepContext) -> str:
    """Moves a retired version back into the repository, if its files are still those that were signed."""
    repository, expected = context.repository, context.signed_manifest()
    if not repository.contains(context.triton_name):
        if context.triton_name not in repository.retired_names():
            raise StepFailedError(
                f"The attic no longer has {context.triton_name}: its undo window is over. Publish the version instead."
            )
        if findings := verify(expected, repository.attic / context.triton_name):
            reason = "; ".join(finding.message for finding in findings)
            raise StepFailedError(f"What lies in the attic is not what was signed ({reason}). Publish it instead.")
        repository.restore(context.triton_name)
    else:
        _require_in_repository(context, expected)
    return f"manifest {expected.digest[:12]}"


def _configuration(context: StepContext) -> tuple[str, dict[str, bytes]]:
    """The text of config.pbtxt for this pool, and the files of its warm-up."""
    version = context.publication.version
    warm_up_files: dict[str, bytes] = {}
    kind = InstanceKind.GPU if context.publication.pool.gpu else InstanceKind.CPU
    config = replace(configuration_of(version), instance_groups=(InstanceGroup(kind),))
    if samples := samples_of(version):
        request, warm_up_files = warm_up(samples[0], config)
        config = replace(config, warm_ups=(request,))
    return render_config(config), warm_up_files


def _manifest(context: StepContext, config_text: str, warm_up_files: Mapping[str, bytes]) -> Manifest:
    version = context.publication.version
    written = {CONFIG_FILE: config_text.encode()}
    written |= {f"{WARM_UP_FOLDER}/{name}": content for name, content in warm_up_files.items()}
    entries = [(f"{version.number}/{e.path}", e.sha256, e.size_bytes) for e in manifest_of(version).entries]
    entries += [(path, hashlib.sha256(content).hexdigest(), len(content)) for path, content in written.items()]
    return Manifest.of_entries(entries)


def _stage(context: StepContext, config_text: str, warm_up_files: Mapping[str, bytes]) -> None:
    version, store = context.publication.version, artifact_store()
    with ExitStack() as files:
        sources = {
            file.path: files.enter_context(store.local(file.artifact.sha256))
            for file in version.files.select_related("artifact")
        }
        context.repository.stage(
            context.stage_id,
            context.triton_name,
            version.number,
            files=sources,
            config_text=config_text,
            warm_up=warm_up_files,
        )


def _require_registered(context: StepContext, expected: Manifest) -> None:
    """The publication's manifest must hold the registry's files and nothing else in the version's folder."""
    version = context.publication.version
    prefix = f"{version.number}/"
    promised = {
        (entry.path.removeprefix(prefix), entry.sha256) for entry in expected.entries if entry.path.startswith(prefix)
    }
    if promised != {(entry.path, entry.sha256) for entry in manifest_of(version).entries}:
        raise StepFailedError("What was signed for this publication is not what was registered. Publish it anew.")


def _require_in_repository(context: StepContext, expected: Manifest) -> None:
    if (found := context.repository.read_manifest(context.triton_name)) != expected:
        raise StepFailedError(
            f"{context.triton_name} lies in the repository with other bytes (manifest {found.digest[:12]}). "
            "Somebody changed it by hand: remove it and retry."
        )


def _adopt(context: StepContext) -> None:
    """Takes over what an earlier publication of the version signed and put there; other bytes are nobody's."""
    publication = context.publication
    if publication.signature:
        return
    found = context.repository.read_manifest(context.triton_name)
    earlier = publication.version.publications.filter(pool=publication.pool).exclude(signature={}).order_by("-id")
    for each in earlier:
        if manifest_from_json(each.manifest) == found:
            publication.manifest, publication.signature = each.manifest, each.signature
            publication.save(update_fields=["manifest", "signature"])
            return
    raise StepFailedError(
        f"{context.triton_name} lies in the repository, but no publication signed these bytes. Remove it and retry."
    )


def _find_stage(context: StepContext) -> StagedVersion | None:
    return context.repository.find_stage(context.stage_id)


def _require_stage(context: StepContext) -> StagedVersion:
    staged = _find_stage(context)
    if staged is None:
        raise StepFailedError("The staged files are gone; retry the publication.")
    return staged
