"""Writes to versions: their numbers and states, signatures, approvals and deprecation."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import F

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.registry.domain import APPROVABLE_STATES, IMMUTABLE_STATES, VersionState, may_move
from controlplane.registry.errors import (
    ApprovalRefusedError,
    InvalidNameError,
    InvalidTransitionError,
)
from controlplane.registry.models import ModelVersion, RegisteredModel, VersionApproval
from controlplane.registry.selectors import approvals_missing, manifest_of
from controlplane.registry.signing import Statement, version_signer
from controlplane.wire.names import SEMVER


def check_semver(semver: str) -> None:
    """Lets a semantic version pass.

    Raises:
        InvalidNameError: it is none.
    """
    if not SEMVER.fullmatch(semver):
        raise InvalidNameError(f"{semver!r} is no semantic version: write it as 1.2.3 or 1.2.3-rc.1 (semver.org).")


def allocate_number(model: RegisteredModel) -> int:
    """The model's next version number; must be called in a transaction, which the number is lost with."""
    RegisteredModel.objects.filter(pk=model.pk).update(next_number=F("next_number") + 1)
    return RegisteredModel.objects.values_list("next_number", flat=True).get(pk=model.pk) - 1


def move_version(version: ModelVersion, target: VersionState, *, failure: str = "") -> None:
    """Moves a version to another state by compare-and-set; part of a service's transaction.

    Raises:
        InvalidTransitionError: the state machine has no such step, or somebody else moved the version meanwhile.
    """
    if not may_move(version.state, target):
        raise InvalidTransitionError(
            f"Version {version} is {version.state}; it cannot become {target}.", details={"state": version.state}
        )
    moved = ModelVersion.objects.filter(pk=version.pk, state=version.state).update(state=target, failure=failure)
    if not moved:
        raise InvalidTransitionError(f"Version {version} changed meanwhile; read it again.")
    version.state, version.failure = target, failure


@transaction.atomic
def sign_version(actor: Actor, *, version: ModelVersion) -> ModelVersion:
    """Signs a version with the publisher's key; one that is signed stays as it is.

    Raises:
        SigningUnavailableError: this process has no key to sign with.
        InvalidTransitionError: the version was not validated, or its files may still change.
    """
    if version.signature:
        return version
    if version.state not in IMMUTABLE_STATES:
        raise InvalidTransitionError(f"Version {version} is {version.state}; only a validated one is signed.")
    signature = version_signer().sign(version_statement(version))
    if version.state == VersionState.VALIDATED:
        move_version(version, VersionState.SIGNED)
    version.signature = signature
    version.save(update_fields=["signature", "updated_at"])
    record(actor, action="registry.sign_version", target=version, after={"key_id": signature["key_id"]})
    return version


def check_signature(version: ModelVersion) -> None:
    """Lets a version pass whose files in the registry are those that were signed.

    Raises:
        SignatureInvalidError: they are not, or the signature is by another key.
    """
    version_signer().check(version_statement(version), version.signature)


def version_statement(version: ModelVersion) -> Statement:
    """What the signature of a version says: its name, and the digest of the files that the registry has for it now."""
    return Statement("version", version.triton_name, manifest_of(version).digest)


@transaction.atomic
def approve_version(actor: Actor, *, version: ModelVersion) -> VersionApproval:
    """Says that a version may be published; it is signed first. Saying it twice changes nothing.

    The version is approved once as many people said so as it needs; none of them is its author.

    Raises:
        PermissionMissingError: the actor may not publish.
        ApprovalRefusedError: the actor is the version's author, or no person.
        InvalidTransitionError: the version is not at the point where it is approved.
        SigningUnavailableError: this process has no key to sign with.
    """
    actor.require(Permission.PUBLISH)
    person = _require_other_person(actor, version)
    version.refresh_from_db()
    known = version.approvals.filter(user_id=person).first()
    if known is not None:
        return known
    if version.state not in APPROVABLE_STATES:
        raise InvalidTransitionError(
            f"Version {version} is {version.state}; only a validated or signed one is approved.",
            details={"state": version.state},
        )
    sign_version(actor, version=version)
    try:
        with transaction.atomic():
            approval = VersionApproval.objects.create(version=version, approved_by=actor.name, user_id=person)
    except IntegrityError:
        return version.approvals.get(user_id=person)
    if not approvals_missing(version):
        move_version(version, VersionState.APPROVED)
    record(actor, action="registry.approve_version", target=version, after={"state": version.state})
    return approval


def _require_other_person(actor: Actor, version: ModelVersion) -> int:
    if actor.user_id is None:
        raise ApprovalRefusedError("Only a person approves a version; this is a process.")
    if version.created_by_user_id == actor.user_id or version.created_by == actor.name:
        raise ApprovalRefusedError(
            f"{actor.name} made version {version}; somebody else must approve it.", code="approval.own_version"
        )
    return actor.user_id


@transaction.atomic
def set_deprecation(actor: Actor, *, version: ModelVersion, deprecated: bool, message: str = "") -> ModelVersion:
    """Tells people that a version should not be used any more, and what to use instead; or takes that back.

    Raises:
        PermissionMissingError: the actor may not manage models.
    """
    actor.require(Permission.MANAGE_MODELS)
    before = {"deprecated": version.deprecated, "message": version.deprecation_message}
    version.deprecated, version.deprecation_message = deprecated, message if deprecated else ""
    version.save(update_fields=["deprecated", "deprecation_message", "updated_at"])
    after = {"deprecated": deprecated, "message": version.deprecation_message}
    if after != before:
        record(actor, action="registry.set_deprecation", target=version, before=before, after=after)
        touch("model", [version.model.slug])
    return version
