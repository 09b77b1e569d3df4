"""Alive, ready, metrics."""

from __future__ import annotations

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from controlplane.env import control_settings
from controlplane.registry.services import create_model
from tests.support.models import ACTOR, imported_version

pytestmark = pytest.mark.django_db


def test_a_process_that_answers_is_alive(client: Client) -> None:
    assert client.get("/health").json() == {"status": "alive"}


def test_what_does_not_answer_is_named_without_its_address(client: Client) -> None:
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["dependencies"] == {"database": "ok", "redis": "ConnectionError"}
    assert "sock" not in answer.content.decode()


def test_with_redis_it_is_ready(client: Client, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_settings(), "redis_url", redis_url)
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


def test_metrics_tell_the_state_of_everything(client: Client) -> None:
    imported_version("counted")
    create_model(ACTOR, slug="empty")
    text = client.get("/metrics").content.decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["controlplane_versions", "validated"] == 1
    assert samples["controlplane_snapshot_revision",] == 0
    assert samples["controlplane_snapshot_lag_seconds",] > 0
