from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from controlplane.usage.models import HourlyUsage
from controlplane.usage.rest.models import begin_of
from controlplane.wire.usage import Arm, Cause, Protocol
from tests.support.models import registered_model
from tests.support.rest import error_of


def count(model: int, *, requests: int, cause: Cause = Cause.OK, duration_us: int = 0, hours_ago: int = 0) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    HourlyUsage.objects.create(
        hour=hour,
        key_number=1,
        model_number=model,
        version_number=1,
        arm=Arm.STABLE,
        cause=cause,
        protocol=Protocol.HTTP_V2,
        requests=requests,
        rows=requests * 2,
        duration_us=duration_us,
    )


def test_a_model_is_summed_over_a_period(owner: APIClient) -> None:
    digits, other = registered_model("digits"), registered_model("other")
    count(digits.pk, requests=8, duration_us=40_000)
    count(digits.pk, requests=2, cause=Cause.MODEL, duration_us=10_000)
    count(digits.pk, requests=90, hours_ago=100)
    count(other.pk, requests=500)

    daily = owner.get("/api/models/digits/metrics").json()
    weekly = owner.get("/api/models/digits/metrics", {"period": "weekly"}).json()

    assert (daily["model_id"], daily["period"]) == ("digits", "daily")
    assert daily["metrics"]["requests_count"] == 10
    assert daily["metrics"]["rows_count"] == 20
    assert daily["metrics"]["avg_response_time_ms"] == pytest.approx(5.0)
    assert daily["metrics"]["error_rate"] == pytest.approx(0.2)
    assert (weekly["period"], weekly["metrics"]["requests_count"]) == ("weekly", 100)


def test_a_model_nobody_used_has_no_errors(owner: APIClient) -> None:
    registered_model("digits")

    metrics = owner.get("/api/models/digits/metrics").json()["metrics"]

    assert (metrics["requests_count"], metrics["error_rate"], metrics["avg_response_time_ms"]) == (0, 0.0, 0.0)


def test_a_period_begins_with_a_whole_hour() -> None:
    now = datetime(2030, 5, 6, 7, 59, 30, tzinfo=UTC)

    assert begin_of("hourly", now) == datetime(2030, 5, 6, 6, tzinfo=UTC)
    assert begin_of("daily", now) == datetime(2030, 5, 5, 7, tzinfo=UTC)


def test_an_unknown_period_or_model_is_refused(owner: APIClient) -> None:
    registered_model("digits")

    period, model = owner.get("/api/models/digits/metrics", {"period": "ever"}), owner.get("/api/models/x/metrics")

    assert (period.status_code, "period" in error_of(period)["details"]) == (400, True)
    assert (model.status_code, error_of(model)["code"]) == (404, "model.not_found")
