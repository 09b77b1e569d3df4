"""Writes to models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.registry.errors import AlreadyExistsError, InvalidNameError, RevisionConflictError
from controlplane.registry.models import RegisteredModel
from controlplane.registry.schemas import check_capabilities, check_parameters, check_schema
from controlplane.wire.names import ALIAS, SLUG


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
    capabilities: list[str] | None = None
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None
    default_alias: str | None = None
    requires_approval: bool | None = None
    keep_versions: int | None = None
    timeout_s: float | None = None
    max_body_bytes: int | None = None

    def given(self) -> dict[str, Any]:
        """The fields that are not None."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    def check(self) -> None:
        """Lets fields pass that hold together.

        Raises:
            InvalidSchemaError: the parameters, schemas or capabilities do not.
            InvalidNameError: the default alias breaks the rules for names.
        """
        if self.parameters is not None:
            check_parameters(self.parameters)
        if self.capabilities is not None:
            check_capabilities(self.capabilities)
        for what, schema in (("input_schema", self.input_schema), ("output_schema", self.output_schema)):
            if schema is not None:
                check_schema(what, schema)
        if self.default_alias is not None and not ALIAS.fullmatch(self.default_alias):
            raise InvalidNameError(f"{self.default_alias!r} is no alias, so it cannot be the default one.")


_RULES_OF_PUBLISHING = frozenset({"requires_approval", "keep_versions", "default_alias"})
"""Who may not publish must not get around those who may by changing these."""


@transaction.atomic
def create_model(actor: Actor, *, slug: str, fields: ModelFields | None = None) -> RegisteredModel:
    """Registers a model under a new slug.

    Raises:
        PermissionMissingError: the actor may not manage models.
        InvalidNameError: the slug breaks the rules for names.
        InvalidSchemaError: its parameters, schemas or capabilities do not hold together.
        AlreadyExistsError: the slug is taken.
    """
    actor.require(Permission.MANAGE_MODELS)
    if fields:
        fields.check()
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
        PermissionMissingError: the actor may not manage models; or not publish, and changes what publishing asks for.
        InvalidNameError, InvalidSchemaError: the fields do not hold together.
        RevisionConflictError: somebody else changed the model since `model` was read.
    """
    actor.require(Permission.MANAGE_MODELS)
    fields.check()
    given = fields.given()
    before = {name: getattr(model, name) for name in given}
    if any(given[name] != before[name] for name in _RULES_OF_PUBLISHING & given.keys()):
        actor.require(Permission.PUBLISH)
    changed = RegisteredModel.objects.filter(pk=model.pk, revision=model.revision).update(
        revision=F("revision") + 1, **given
    )
    if not changed:
        raise RevisionConflictError(f"Model {model.slug!r} was changed by somebody else; read it again and repeat.")
    model.refresh_from_db()
    record(actor, action="registry.update_model", target=model, before=before, after=given)
    touch("model", [model.slug])
    return model
