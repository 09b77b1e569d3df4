"""``/api/models/{slug}/metrics``: what the gateways counted of a model."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation
from controlplane.registry.selectors import get_model
from controlplane.usage.selectors import UsageTotals, usage_totals

PERIODS = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(weeks=1),
    "monthly": timedelta(days=30),
}
DEFAULT_PERIOD = "daily"


class UsageMetricsSerializer(serializers.Serializer[UsageTotals]):
    """Sums of a period."""

    requests_count = serializers.IntegerField(source="requests", help_text="All requests, refused ones included.")
    rows_count = serializers.IntegerField(source="rows", help_text="Predictions: the batch sizes added up.")
    bytes_in = serializers.IntegerField()
    bytes_out = serializers.IntegerField()
    avg_response_time_ms = serializers.FloatField(source="average_ms")
    error_rate = serializers.SerializerMethodField(help_text="Share of the requests that failed by the model's doing.")

    def get_error_rate(self, totals: UsageTotals) -> float:
        return totals.failures / totals.requests if totals.requests else 0.0


class ModelMetricsSerializer(serializers.Serializer[Any]):
    """A model's usage in a period that ends now."""

    model_id = serializers.CharField()
    period = serializers.ChoiceField(choices=list(PERIODS))
    since = serializers.DateTimeField(help_text="Where the period begins: usage is summed by whole hours.")
    metrics = UsageMetricsSerializer()


class MetricsQuerySerializer(serializers.Serializer[Any]):
    """Which period to sum."""

    period = serializers.ChoiceField(choices=list(PERIODS), default=DEFAULT_PERIOD)


class ModelMetricsView(ControlView):
    @operation("models_metrics", ModelMetricsSerializer, query=MetricsQuerySerializer, errors=(400, 404))
    def get(self, request: Request, slug: str) -> Response:
        """How much a model was used, how fast it answered, and how often it failed."""
        period = self.read_query(MetricsQuerySerializer)["period"]
        model = get_model(slug)
        since = begin_of(period, timezone.now())
        totals = usage_totals(model_number=model.pk, since=since)
        answer = {"model_id": model.slug, "period": period, "since": since, "metrics": totals}
        return Response(ModelMetricsSerializer(answer).data)


def begin_of(period: str, now: datetime) -> datetime:
    """The whole hour in which a period that ends now begins."""
    return (now - PERIODS[period]).replace(minute=0, second=0, microsecond=0)
