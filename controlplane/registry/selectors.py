"""Reads of the registry."""

from __future__ import annotations

from django.db.models import Count, Prefetch, Q, QuerySet

from controlplane.registry.domain import VersionState, approvals_needed
from controlplane.registry.errors import AliasNotFoundError, ModelNotFoundError, VersionNotFoundError
from controlplane.registry.models import Alias, AliasMove, ModelVersion, RegisteredModel
from model_repository_tools.manifest import Manifest

HISTORY_LENGTH = 50
"""How many of an alias's moves are shown with it."""


def list_models() -> QuerySet[RegisteredModel]:
    """All models with their aliases, by slug, in a constant number of queries."""
    return RegisteredModel.objects.prefetch_related(
        Prefetch("aliases", queryset=Alias.objects.select_related("version"))
    ).order_by("slug")


def search_models(*, text: str = "", task: str = "", framework: str = "", owner: str = "") -> QuerySet[RegisteredModel]:
    """Models whose name, title or description holds a text, and that are of a task, framework and owner, if given.

    Each has ``versions_count``.
    """
    models = list_models().annotate(versions_count=Count("versions"))
    if text:
        models = models.filter(Q(slug__icontains=text) | Q(title__icontains=text) | Q(description__icontains=text))
    exact = {"task": task, "framework": framework, "owner": owner}
    return models.filter(**{name: value for name, value in exact.items() if value})


def get_model(slug: str) -> RegisteredModel:
    """The model of that slug.

    Raises:
        ModelNotFoundError: there is none.
    """
    try:
        return list_models().get(slug=slug)
    except RegisteredModel.DoesNotExist:
        raise ModelNotFoundError(f"There is no model {slug!r}.") from None


def list_versions(slug: str) -> QuerySet[ModelVersion]:
    """A model's versions, newest first.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    return get_model(slug).versions.select_related("model").order_by("-number")


def list_version_summaries(slug: str, *, state: str = "") -> QuerySet[ModelVersion]:
    """A model's versions, newest first, with the aliases that point to them and without their long columns.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    versions = list_versions(slug).prefetch_related("aliases")
    versions = versions.defer("config", "findings", "inputs", "inspection", "outputs", "dataset_notes")
    return versions.filter(state=state) if state else versions


def default_version(model: RegisteredModel) -> ModelVersion | None:
    """The version that the model's default alias points to."""
    return next((alias.version for alias in model.aliases.all() if alias.name == model.default_alias), None)


def list_aliases(slug: str) -> QuerySet[Alias]:
    """A model's aliases by name, each with its last moves in ``recent_moves``, newest first.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    moves = AliasMove.objects.select_related("from_version", "to_version").order_by("-id")[:HISTORY_LENGTH]
    aliases = get_model(slug).aliases.select_related("model", "version").order_by("name")
    return aliases.prefetch_related(Prefetch("moves", queryset=moves, to_attr="recent_moves"))


def get_alias(slug: str, name: str) -> Alias:
    """An alias of a model.

    Raises:
        ModelNotFoundError: there is no such model.
        AliasNotFoundError: the model has no such alias.
    """
    alias = list_aliases(slug).filter(name=name).first()
    if alias is None:
        raise AliasNotFoundError(f"Model {slug!r} has no alias {name!r}.")
    return alias


def get_version(slug: str, version: str) -> ModelVersion:
    """A version by its semver, its number (``3``) or ``v3``.

    Raises:
        ModelNotFoundError: there is no such model.
        VersionNotFoundError: the model has no such version.
    """
    versions = list_versions(slug)
    digits = version.removeprefix("v")
    found = (
        versions.filter(number=int(digits))
        if digits.isdecimal() and len(digits) < 10
        else versions.filter(semver=version)
    )
    result = found.first()
    if result is None:
        raise VersionNotFoundError(f"Model {slug!r} has no version {version!r}.")
    return result


def manifest_of(version: ModelVersion) -> Manifest:
    """The manifest of a version's files as the store holds them."""
    files = version.files.select_related("artifact")
    return Manifest.of_entries((file.path, file.artifact.sha256, file.artifact.size_bytes) for file in files)


def approvals_missing(version: ModelVersion) -> int:
    """How many more people must approve a version before it may be published."""
    needed = approvals_needed(requires_approval=version.model.requires_approval, carries_code=version.carries_code)
    return max(0, needed - version.approvals.count()) if needed else 0


def uses_of(version: ModelVersion) -> list[str]:
    """What needs a version to stay published, for people: aliases that point to it, and ensembles it is a part of."""
    aliases = [f"alias {name}" for name in version.aliases.order_by("name").values_list("name", flat=True)]
    ensembles = version.ensembles.filter(state=VersionState.PUBLISHED).select_related("model")
    return aliases + [f"ensemble {ensemble}" for ensemble in ensembles]
