"""Writes to models, versions and aliases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.registry.domain import VersionState, may_move
from controlplane.registry.errors import (
    AlreadyExistsError,
    InvalidNameError,
    InvalidTransitionError,
    RevisionConflictError,
)
from controlplane.registry.models import Alias, AliasMove, ModelVersion, RegisteredModel
from controlplane.wire.names import ALIAS, SEMVER, SLUG


@dataclass(frozen=True, slots=True)
class ModelFields:
    """What a person may say about a model; None leaves a field as it is."""

    title: str | None = None
    owner: str | None = None
    description: str | None = None
    documentation: str | None = None
    task: str | None = None
    framework: str | None = None
    tags: list[str] | None = None
    timeout_s: float | None = None
    max_body_bytes: int | None = None

    def given(self) -> dict[str, Any]:
        """The fields that are not None."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@transaction.atomic
def create_model(actor: Actor, *, slug: str, fields: ModelFields | None = None) -> RegisteredModel:
    """Registers a model under a new slug.

    Raises:
        PermissionMissingError: the actor may not manage models.
        InvalidNameError: the slug breaks the rules for names.
        AlreadyExistsError: the slug is taken.
    """
    actor.require(Permission.MANAGE_MODELS)
    if not SLUG.fullmatch(slug):
        raise InvalidNameError(
            f"{slug!r} is no model name: use 1 to 100 lower-case letters, digits, '.', '_' and '-', a letter or digit "
            "first, and no '.v' with digits at the end."
        )
    given = {"title": slug} | (fields.given() if fields else {})
    try:
        with transaction.atomic():
            model = RegisteredModel.objects.create(slug=slug, **given)
    except IntegrityError:
        raise AlreadyExistsError(f"There is a model {slug!r} already.") from None
    record(actor, action="registry.create_model", target=model, after=given)
    touch("model", [slug])
    return model


@transaction.atomic
def update_model(actor: Actor, *, model: RegisteredModel, fields: ModelFields) -> RegisteredModel:
    """Changes what is said about a model.

    Raises:
        PermissionMissingError: the actor may not manage models.
        RevisionConflictError: somebody else changed the model since `model` was read.
    """
    actor.require(Permission.MANAGE_MODELS)
    given = fields.given()
    before = {name: getattr(model, name) for name in given}
    changed = RegisteredModel.objects.filter(pk=model.pk, revision=model.revision).update(
        revision=F("revision") + 1, **given
    )
    if not changed:
        raise RevisionConflictError(f"Model {model.slug!r} was changed by somebody else; read it again and repeat.")
    model.refresh_from_db()
    record(actor, action="registry.update_model", target=model, before=before, after=given)
    touch("model", [model.slug])
    return model


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
def set_alias(actor: Actor, *, model: RegisteredModel, name: str, version: ModelVersion) -> Alias:
    """Points an alias at a published version; clients of the alias follow within a second.

    Raises:
        PermissionMissingError: the actor may not publish.
        InvalidNameError: the alias breaks the rules for names, or the version is another model's.
        InvalidTransitionError: the version is not published.
    """
    actor.require(Permission.PUBLISH)
    if not ALIAS.fullmatch(name):
        raise InvalidNameError(
            f"{name!r} is no alias: use 1 to 50 lower-case letters, digits, '_' and '-', a letter first; 'preview' and "
            "'v' with digits are reserved."
        )
    if version.model_id != model.pk:
        raise InvalidNameError(f"Version {version} does not belong to model {model.slug!r}.")
    if version.state != VersionState.PUBLISHED:
        raise InvalidTransitionError(
            f"Version {version} is {version.state}; publish it before pointing an alias at it."
        )
    alias, before = _point(model, name, version)
    AliasMove.objects.create(
        alias=alias, from_version=before, to_version=version, moved_by=actor.name, moved_by_user_id=actor.user_id
    )
    record(
        actor,
        action="registry.set_alias",
        target=alias,
        before={"version": before.semver if before else None},
        after={"version": version.semver},
    )
    touch("model", [model.slug])
    return alias


def _point(model: RegisteredModel, name: str, version: ModelVersion) -> tuple[Alias, ModelVersion | None]:
    alias = Alias.objects.select_related("version", "model").filter(model=model, name=name).first()
    if alias is None:
        try:
            with transaction.atomic():
                return Alias.objects.create(model=model, name=name, version=version), None
        except IntegrityError:
            raise RevisionConflictError(f"Alias {name!r} was made by somebody else just now; repeat.") from None
    before = alias.version
    if not Alias.objects.filter(pk=alias.pk, revision=alias.revision).update(
        version=version, revision=F("revision") + 1
    ):
        raise RevisionConflictError(f"Alias {name!r} was moved by somebody else just now; read it again and repeat.")
    alias.version = version
    return alias, before
