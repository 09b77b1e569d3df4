"""Whether this process lives, whether it can work, and its metrics."""

from __future__ import annotations

from collections.abc import Callable

import redis
from django.db import connection
from django.db.utils import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from controlplane.env import control_settings
from controlplane.ui.metrics import StateCollector

_REDIS_TIMEOUT_S = 1.0


def alive(_request: HttpRequest) -> JsonResponse:
    """``GET /health``: the process answers; it says nothing of what it depends on."""
    return JsonResponse({"status": "alive"})


def ready(_request: HttpRequest) -> JsonResponse:
    """``GET /ready``: 200 when everything this process depends on answers, else 503 naming what does not."""
    checks: dict[str, Callable[[], None]] = {"database": _check_database, "redis": _check_redis}
    failures = {}
    for name, check in checks.items():
        try:
            check()
        except (DatabaseError, redis.RedisError, OSError) as error:
            failures[name] = type(error).__name__  # the text may hold an address or a password
    states = {name: failures.get(name, "ok") for name in checks}
    return JsonResponse({"ready": not failures, "dependencies": states}, status=503 if failures else 200)


def metrics(_request: HttpRequest) -> HttpResponse:
    """``GET /metrics``: Prometheus text of what the database says; the same from every web process."""
    registry = CollectorRegistry()
    registry.register(StateCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_redis() -> None:
    with redis.Redis.from_url(control_settings().redis_url, socket_timeout=_REDIS_TIMEOUT_S) as client:
        client.ping()
