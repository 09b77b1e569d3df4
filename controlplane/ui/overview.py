"""What a person on call wants to know in five seconds, read in a fixed number of cheap queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, Sum
from django.urls import reverse
from django.utils import timezone

from controlplane.access.models import ApiKey
from controlplane.audit.models import AuditEvent
from controlplane.fleet.domain import OPEN_STATES, Health, PlacementState, PublicationState, ServerState
from controlplane.fleet.models import Placement, Publication, Server
from controlplane.registry.domain import VersionState
from controlplane.registry.models import Alias, ModelVersion, RegisteredModel
from controlplane.snapshots.models import Gateway
from controlplane.snapshots.selectors import gateway_state, gateways_with_head
from controlplane.usage.models import HourlyUsage
from controlplane.wire.usage import Cause

HOURS = 24
RECENT = timedelta(days=1)
SHOWN = 6


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that somebody should look at."""

    level: str
    text: str
    link: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HourOfUse:
    """One hour's requests; `share` is its height in a chart, 0 to 100."""

    hour: datetime
    requests: int
    failures: int
    share: float
    failure_share: float


@dataclass(frozen=True, slots=True)
class Use:
    """The requests of the last hours, and of which models."""

    hours: list[HourOfUse]
    requests: int
    failures: int
    average_ms: float
    busiest: list[tuple[RegisteredModel, int]]

    @property
    def success_ratio(self) -> float:
        """The share of requests that no model failed."""
        return 1 - self.failures / self.requests if self.requests else 1.0


@dataclass(frozen=True, slots=True)
class FirstStep:
    """One step of setting up, and where it is taken."""

    text: str
    link: str
    done: bool


@dataclass(frozen=True, slots=True)
class GatewayNow:
    """A gateway, its state and how many revisions it lags."""

    gateway: Gateway
    state: str
    behind: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page of the admin."""

    at: datetime
    concerns: list[Concern]
    servers_live: int
    servers: int
    models: int
    versions: dict[str, int]
    under_way: list[Publication]
    publications: list[Publication]
    failed_recently: int
    use: Use
    gateways: list[GatewayNow]
    events: list[AuditEvent]
    first_steps: list[FirstStep]

    @property
    def is_set_up(self) -> bool:
        """Whether all first steps were taken."""
        return all(step.done for step in self.first_steps)


def overview() -> Overview:
    """The state of everything, now."""
    now = timezone.now()
    servers = list(Server.objects.select_related("pool").order_by("name"))
    versions = dict(ModelVersion.objects.order_by().values_list("state").annotate(Count("pk")))
    publications = Publication.objects.select_related("version__model", "pool").order_by("-id")
    failed = list(_failed_publications(now))
    gateways = [_gateway_now(gateway) for gateway in gateways_with_head()]
    models = RegisteredModel.objects.count()
    use = _use(now)
    return Overview(
        at=now,
        concerns=[
            *_server_concerns(servers),
            *_publication_concerns(failed),
            *_placement_concerns(servers),
            *_gateway_concerns(gateways),
            *_key_concerns(now),
        ],
        servers_live=sum(server.health == Health.LIVE for server in servers),
        servers=len(servers),
        models=models,
        versions=versions,
        under_way=list(publications.filter(state__in=OPEN_STATES)[:SHOWN]),
        publications=list(publications[:SHOWN]),
        failed_recently=len(failed),
        use=use,
        gateways=gateways,
        events=list(AuditEvent.objects.order_by("-id")[:SHOWN]),
        first_steps=_first_steps(bool(servers), models, versions, use),
    )


def _failed_publications(now: datetime) -> list[Publication]:
    """What failed in the last day and is still the last word on its version and pool."""
    recent = Publication.objects.filter(created_at__gte=now - RECENT).select_related("version__model", "pool")
    latest: dict[tuple[int, int], Publication] = {}
    for publication in recent.order_by("id"):
        latest[publication.version_id, publication.pool_id] = publication
    return [publication for publication in latest.values() if publication.state == PublicationState.FAILED]


def _gateway_now(gateway: Any) -> GatewayNow:
    return GatewayNow(gateway, gateway_state(gateway), max(0, gateway.head - gateway.revision))


def _server_concerns(servers: list[Server]) -> list[Concern]:
    return [
        Concern("danger", f"Server {server.name} is down", _page("fleet_server", server.pk), server.health_reason)
        for server in servers
        if server.health == Health.DOWN
    ]


def _publication_concerns(failed: list[Publication]) -> list[Concern]:
    return [
        Concern(
            "danger",
            f"Publishing {each.version} to {each.pool} failed",
            _page("fleet_publication", each.pk),
            each.error,
        )
        for each in failed
    ]


def _placement_concerns(servers: list[Server]) -> list[Concern]:
    """Published versions that a live server should serve and does not."""
    live = [server.pk for server in servers if server.health == Health.LIVE and server.state == ServerState.ACTIVE]
    missing = (
        Placement.objects.filter(server_id__in=live, proven=True, version__state=VersionState.PUBLISHED)
        .exclude(state=PlacementState.READY)
        .select_related("version__model", "server")
    )
    return [
        Concern(
            "warning",
            f"{placement.version} is {placement.state} on {placement.server}",
            _page("registry_modelversion", placement.version_id),
            placement.reason,
        )
        for placement in missing[:SHOWN]
    ]


def _gateway_concerns(gateways: list[GatewayNow]) -> list[Concern]:
    texts = {"silent": "has been silent for over a minute", "lost": "is lost: silent for over 15 minutes"}
    return [
        Concern(
            "danger" if each.state == "lost" else "warning",
            f"Gateway {each.gateway.name} {texts[each.state]}",
            _page("snapshots_gateway", each.gateway.pk),
        )
        for each in gateways
        if each.state in texts
    ]


def _key_concerns(now: datetime) -> list[Concern]:
    soon = ApiKey.objects.filter(revoked_at=None, expires_at__gt=now, expires_at__lte=now + timedelta(days=7)).count()
    if not soon:
        return []
    text = "1 API key expires within 7 days" if soon == 1 else f"{soon} API keys expire within 7 days"
    return [Concern("warning", text, reverse("admin:access_apikey_changelist") + "?state=soon")]


def _use(now: datetime) -> Use:
    newest = now.replace(minute=0, second=0, microsecond=0)
    oldest = newest - timedelta(hours=HOURS - 1)
    rows = HourlyUsage.objects.filter(hour__gte=oldest)
    by_hour: dict[datetime, Any] = {
        row["hour"]: row
        for row in rows.order_by()
        .values("hour")
        .annotate(
            count=Sum("requests"), failed=Sum("requests", filter=Q(cause=Cause.MODEL), default=0), us=Sum("duration_us")
        )
    }
    requests = sum(row["count"] for row in by_hour.values())
    highest = max((row["count"] for row in by_hour.values()), default=0) or 1
    hours = [_hour(oldest + timedelta(hours=index), by_hour, highest) for index in range(HOURS)]
    return Use(
        hours=hours,
        requests=requests,
        failures=sum(hour.failures for hour in hours),
        average_ms=sum(row["us"] for row in by_hour.values()) / requests / 1000 if requests else 0.0,
        busiest=_busiest(oldest),
    )


def _hour(hour: datetime, by_hour: dict[datetime, Any], highest: int) -> HourOfUse:
    row = by_hour.get(hour, {"count": 0, "failed": 0})
    return HourOfUse(hour, row["count"], row["failed"], 100 * row["count"] / highest, 100 * row["failed"] / highest)


def _busiest(since: datetime) -> list[tuple[RegisteredModel, int]]:
    rows = HourlyUsage.objects.filter(hour__gte=since).exclude(model_number=0).order_by().values_list("model_number")
    counts = dict(rows.annotate(count=Sum("requests")).order_by("-count")[:5])
    models = RegisteredModel.objects.in_bulk(list(counts))
    return [(models[number], count) for number, count in counts.items() if number in models]


def _first_steps(servers: bool, models: int, versions: dict[str, int], use: Use) -> list[FirstStep]:
    steps = [
        ("Register a pool and its Triton", reverse("admin:fleet_server_changelist"), servers),
        ("Register a model", reverse("admin:registry_registeredmodel_add"), models > 0),
        ("Add a version: upload its ONNX file", reverse("admin:registry_modelversion_add"), sum(versions.values()) > 0),
        (
            "Publish it",
            reverse("admin:registry_modelversion_changelist"),
            versions.get(VersionState.PUBLISHED, 0) > 0,
        ),
        (
            "Point the model's default alias at it",
            reverse("admin:registry_registeredmodel_changelist"),
            Alias.objects.exists(),
        ),
        ("Issue an API key", reverse("admin:access_apikey_add"), ApiKey.objects.exists()),
        ("Send the first request", reverse("swagger"), use.requests > 0),
    ]
    return [FirstStep(*step) for step in steps]


def _page(name: str, pk: int) -> str:
    return reverse(f"admin:{name}_change", args=[pk])
