"""Approval by somebody other than the author, signatures of versions, deprecation."""

from __future__ import annotations

import io

import pytest

from controlplane.accounts.domain import Role
from controlplane.accounts.services import create_user
from controlplane.audit.domain import Actor
from controlplane.audit.errors import PermissionMissingError
from controlplane.audit.models import AuditEvent
from controlplane.registry.domain import VersionState
from controlplane.registry.errors import ApprovalRefusedError, InvalidTransitionError, SignatureInvalidError
from controlplane.registry.importing import VersionDraft, import_version
from controlplane.registry.models import ModelVersion
from controlplane.registry.selectors import approvals_missing
from controlplane.registry.services import (
    ModelFields,
    approve_version,
    check_signature,
    set_deprecation,
    sign_version,
    update_model,
)
from tests.support.models import ACTOR, imported_version, registered_model, scaling_graph

pytestmark = pytest.mark.django_db


def person(name: str, role: Role = Role.OPERATOR) -> Actor:
    return create_user(ACTOR, username=name, password="correct horse battery", role=role).as_actor("")


def version_of(author: Actor, **fields: bool) -> ModelVersion:
    model = registered_model("digits")
    model = update_model(ACTOR, model=model, fields=ModelFields(requires_approval=fields.get("requires_approval")))
    draft = VersionDraft("1.0.0", {"model.onnx": io.BytesIO(scaling_graph())})
    version = import_version(author, model=model, draft=draft)
    ModelVersion.objects.filter(pk=version.pk).update(carries_code=fields.get("carries_code", False))
    version.refresh_from_db()
    return version


def test_somebody_else_approves_a_version_and_it_is_signed_on_the_way() -> None:
    version = version_of(person("ana"), requires_approval=True)
    assert approvals_missing(version) == 1

    approve_version(person("ben"), version=version)

    assert (version.state, approvals_missing(version)) == (VersionState.APPROVED, 0)
    check_signature(version)
    assert AuditEvent.objects.filter(action="registry.approve_version").count() == 1


def test_an_author_does_not_approve_their_own_version_nor_does_a_process() -> None:
    ana = person("ana")
    version = version_of(ana, requires_approval=True)
    with pytest.raises(ApprovalRefusedError, match="somebody else"):
        approve_version(ana, version=version)
    with pytest.raises(ApprovalRefusedError, match="process"):
        approve_version(ACTOR, version=version)
    with pytest.raises(PermissionMissingError):
        approve_version(person("dev", Role.DEVELOPER), version=version)
    assert not version.approvals.exists()


def test_what_carries_code_needs_two_people() -> None:
    version = version_of(person("ana"), carries_code=True)
    ben = person("ben")
    first = approve_version(ben, version=version)
    assert approve_version(ben, version=version) == first, "twice the same person is one person"
    assert (version.state, approvals_missing(version)) == (VersionState.SIGNED, 1)

    approve_version(person("cyd"), version=version)

    assert version.state == VersionState.APPROVED
    with pytest.raises(InvalidTransitionError, match="is approved"):
        approve_version(person("dan"), version=version)


def test_who_may_not_publish_does_not_change_what_publishing_asks_for() -> None:
    model = registered_model("digits")
    for fields in (ModelFields(requires_approval=True), ModelFields(keep_versions=1), ModelFields(default_alias="x")):
        with pytest.raises(PermissionMissingError):
            update_model(
                person(f"dev-{fields.keep_versions}-{fields.default_alias}", Role.DEVELOPER), model=model, fields=fields
            )


def test_files_that_changed_in_the_registry_are_not_those_that_were_signed() -> None:
    version = imported_version("digits")
    sign_version(ACTOR, version=version)
    check_signature(version)
    other = imported_version("digits", "2.0.0", factor=7.0)
    version.files.update(artifact=other.files.get().artifact)
    with pytest.raises(SignatureInvalidError, match="other bytes than were signed"):
        check_signature(version)


def test_a_version_is_deprecated_and_that_is_taken_back() -> None:
    version = imported_version("digits")
    dev = person("dev", Role.DEVELOPER)
    set_deprecation(dev, version=version, deprecated=True, message="use 2.0.0")
    version.refresh_from_db()
    assert (version.deprecated, version.deprecation_message) == (True, "use 2.0.0")
    set_deprecation(dev, version=version, deprecated=False, message="ignored")
    version.refresh_from_db()
    assert (version.deprecated, version.deprecation_message) == (False, "")
    with pytest.raises(PermissionMissingError):
        set_deprecation(person("vic", Role.VIEWER), version=version, deprecated=True)
