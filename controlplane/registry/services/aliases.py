"""Writes to aliases."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import F

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.registry.domain import VersionState
from controlplane.registry.errors import InvalidNameError, InvalidTransitionError, RevisionConflictError
from controlplane.registry.models import Alias, AliasMove, ModelVersion, RegisteredModel
from controlplane.wire.names import ALIAS


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
    # A write, not a read: it holds off a retirement that would look at the version's aliases in this moment.
    if not ModelVersion.objects.filter(pk=version.pk, state=VersionState.PUBLISHED).update(
        state=VersionState.PUBLISHED
    ):
        version.refresh_from_db()
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
