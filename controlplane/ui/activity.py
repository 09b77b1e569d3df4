"""Models and versions with what the apps above the registry know of them: where they run, how much they are used."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from controlplane.fleet.domain import PlacementState
from controlplane.registry.domain import VersionState
from controlplane.registry.models import ModelVersion, RegisteredModel
from controlplane.registry.selectors import list_models
from controlplane.usage.models import HourlyUsage

DAY = timedelta(hours=24)


def models_with_activity() -> QuerySet[RegisteredModel]:
    """All models with `published_count` and `requests_24h`, their aliases at hand."""
    use = HourlyUsage.objects.filter(model_number=OuterRef("pk"), hour__gte=timezone.now() - DAY)
    total = use.order_by().values("model_number").annotate(total=Sum("requests")).values("total")
    return list_models().annotate(
        published_count=Count("versions", filter=Q(versions__state=VersionState.PUBLISHED), distinct=True),
        requests_24h=Coalesce(Subquery(total), 0),
    )


def versions_with_placements() -> QuerySet[ModelVersion]:
    """All versions, newest first, with `placement_count` and `ready_count`."""
    ready = Count("placements", filter=Q(placements__state=PlacementState.READY))
    return (
        ModelVersion.objects.select_related("model")
        .defer("config", "inspection", "findings", "metrics", "inputs", "outputs")
        .annotate(placement_count=Count("placements"), ready_count=ready)
        .order_by("-id")
    )
