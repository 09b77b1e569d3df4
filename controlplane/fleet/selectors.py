"""Reads of pools, servers and publications."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Prefetch, QuerySet

from controlplane.fleet.domain import OPEN_STATES, PLANS, PlacementState, PublicationKind, PublicationStep
from controlplane.fleet.errors import PoolNotFoundError, PublicationNotFoundError, ServerNotFoundError
from controlplane.fleet.models import Placement, Pool, Publication, PublicationStepRun, Server
from controlplane.registry.models import ModelVersion

DEFAULT_POOL = "default"


def list_pools() -> QuerySet[Pool]:
    """All pools with their servers."""
    return Pool.objects.prefetch_related("servers").order_by("slug")


def get_pool(slug: str = DEFAULT_POOL) -> Pool:
    """A pool by its slug.

    Raises:
        PoolNotFoundError: there is none.
    """
    pool = list_pools().filter(slug=slug).first()
    if pool is None:
        raise PoolNotFoundError(f"There is no pool {slug!r}.")
    return pool


def list_servers() -> QuerySet[Server]:
    """All servers with their pools and what was seen on them."""
    placements = Placement.objects.select_related("version__model")
    return (
        Server.objects.select_related("pool")
        .prefetch_related(Prefetch("placements", queryset=placements))
        .order_by("name")
    )


def search_servers(*, pool: str = "", state: str = "", health: str = "") -> QuerySet[Server]:
    """Servers of a pool, in a state and of a health, if given, without what lies on them."""
    exact = {"pool__slug": pool, "state": state, "health": health}
    servers = Server.objects.select_related("pool").order_by("name")
    return servers.filter(**{name: value for name, value in exact.items() if value})


def get_server(name: str) -> Server:
    """A server by its name.

    Raises:
        ServerNotFoundError: there is none.
    """
    server = list_servers().filter(name=name).first()
    if server is None:
        raise ServerNotFoundError(f"There is no server {name!r}.")
    return server


def get_publication(publication_id: int) -> Publication:
    """A publication with its steps.

    Raises:
        PublicationNotFoundError: there is none.
    """
    publication = (
        Publication.objects.select_related("version__model", "pool")
        .prefetch_related("steps")
        .filter(pk=publication_id)
        .first()
    )
    if publication is None:
        raise PublicationNotFoundError(f"There is no publication {publication_id}.")
    return publication


def list_publications(version: ModelVersion) -> QuerySet[Publication]:
    """A version's publications, newest first, with their steps."""
    return version.publications.select_related("version__model", "pool").prefetch_related("steps").order_by("-id")


def list_placements(version: ModelVersion) -> QuerySet[Placement]:
    """What was last seen of a version, by server."""
    return version.placements.select_related("server__pool").order_by("server__name")


def waiting_withdrawals() -> QuerySet[Publication]:
    """Publications whose version left the routes and that wait until the gateways have noticed."""
    waiting = Publication.objects.filter(state__in=OPEN_STATES, unrouted_at=None, withdrawn_at__isnull=False)
    return waiting.select_related("version__model")


def routable_servers(version_ids: list[int]) -> dict[int, list[int]]:
    """Version id -> ids of the servers that may be sent requests for it: READY there, and proven by a publication."""
    rows = Placement.objects.filter(version_id__in=version_ids, state=PlacementState.READY, proven=True)
    result: dict[int, list[int]] = {}
    for version_id, server_id in rows.order_by("server_id").values_list("version_id", "server_id"):
        result.setdefault(version_id, []).append(server_id)
    return result


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """One step of a publication's latest attempt; `run` is None while the step waits."""

    step: PublicationStep
    run: PublicationStepRun | None

    @property
    def state(self) -> str:
        """A `StepState`, or ``waiting``."""
        return self.run.state if self.run else "waiting"


def pipeline_of(publication: Publication) -> list[PipelineStep]:
    """All steps of a publication in order, as its latest attempt left them."""
    runs = {run.step: run for run in publication.steps.all() if run.attempt == publication.attempt}
    return [PipelineStep(step, runs.get(step.value)) for step in PLANS[PublicationKind(publication.kind)]]
