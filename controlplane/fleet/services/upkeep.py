"""What pools need from time to time: the attic forgets, old versions go, what crashes left behind is removed."""

from __future__ import annotations

import logging
from pathlib import Path

from django.utils import timezone

from controlplane.audit.domain import Actor
from controlplane.fleet.domain import OPEN_STATES
from controlplane.fleet.models import Pool, Publication
from controlplane.fleet.services.publications import retire_version
from controlplane.registry.domain import VersionState
from controlplane.registry.models import ModelVersion, RegisteredModel
from controlplane.registry.selectors import uses_of
from model_repository_tools.errors import ModelRepositoryError
from model_repository_tools.repository.folder import FolderRepository

logger = logging.getLogger(__name__)


def empty_attics() -> int:
    """Removes retired versions whose undo window has ended; returns how many. One on its way back is left alone."""
    due = Publication.objects.filter(attic_until__lte=timezone.now()).select_related("version__model", "pool")
    removed = 0
    for publication in due:
        if publication.version.publications.filter(pool=publication.pool, state__in=OPEN_STATES).exists():
            continue
        repository = FolderRepository(Path(publication.pool.repository))
        try:
            repository.discard_retired(publication.version.triton_name)
        except (ModelRepositoryError, OSError):
            logger.exception("%s stays in the attic of %s", publication.version, publication.pool)
            continue
        Publication.objects.filter(pk=publication.pk).update(attic_until=None)
        removed += 1
    return removed


def retire_surplus_versions(actor: Actor) -> list[Publication]:
    """Asks for the retirement of published versions beyond the newest ones that their models keep in a pool.

    One that something needs is never among them, and does not count.
    """
    return [
        retire_version(actor, version=version, pool=pool)
        for model in RegisteredModel.objects.filter(keep_versions__gt=0)
        for pool in Pool.objects.filter(servers__placements__version__model=model).distinct()
        for version in _surplus(model, pool)
    ]


def _surplus(model: RegisteredModel, pool: Pool) -> list[ModelVersion]:
    published = ModelVersion.objects.filter(
        model=model, state=VersionState.PUBLISHED, placements__proven=True, placements__server__pool=pool
    ).exclude(publications__in=Publication.objects.filter(pool=pool, state__in=OPEN_STATES))
    unused = [version for version in published.distinct().order_by("-number") if not uses_of(version)]
    return unused[model.keep_versions :]


def reap_stages() -> int:
    """Removes what publications that are over left beside the repositories; returns how many."""
    reaped = 0
    for pool in Pool.objects.all():
        running = Publication.objects.filter(pool=pool, state__in=OPEN_STATES).values_list("pk", flat=True)
        try:
            reaped += len(FolderRepository(Path(pool.repository)).reap_stages(keep=[stage_id(pk) for pk in running]))
        except (ModelRepositoryError, OSError):
            logger.exception("the staging folder of %s cannot be cleaned", pool)
    return reaped


def stage_id(publication_id: int) -> str:
    """Names a publication's stage beside the repository."""
    return f"publication-{publication_id}"
