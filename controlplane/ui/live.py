"""What pages that refresh themselves poll: JSON with the facts and, so that there is one source of markup, the HTML.

Each answer is ``{"running": bool, "fragments": {name: html}}`` and facts for other readers. A page polls quickly while
something runs, slowly otherwise (``static/controlplane/admin.js``).
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string

from controlplane.accounts.domain import Permission
from controlplane.audit.staff_admin import may
from controlplane.fleet.domain import OPEN_STATES
from controlplane.fleet.models import Publication
from controlplane.fleet.selectors import get_publication, list_publications, pipeline_of
from controlplane.registry.models import ModelVersion
from controlplane.ui.overview import overview

SHOWN_PUBLICATIONS = 5


def overview_now(request: HttpRequest) -> JsonResponse:
    """``GET /admin/live/overview/``."""
    _require_view(request)
    now = overview()
    html = render_to_string("controlplane/parts/overview.html", {"overview": now}, request)
    return _answer(running=bool(now.under_way), fragments={"overview": html})


def version_now(request: HttpRequest, version_id: int) -> JsonResponse:
    """``GET /admin/live/versions/ID/``: the version's state, placements and latest publications."""
    _require_view(request)
    version = get_object_or_404(ModelVersion.objects.select_related("model"), pk=version_id)
    context = version_activity(version)
    fragments = {
        name: render_to_string(f"controlplane/parts/{name}.html", context, request)
        for name in ("version_state", "placements", "pipelines")
    }
    facts = {
        "state": version.state,
        "placements": [
            {"server": placement.server.name, "state": placement.state, "reason": placement.reason}
            for placement in context["placements"]
        ],
        "publications": [_publication_facts(entry["publication"]) for entry in context["pipelines"]],
    }
    return _answer(running=context["running"], fragments=fragments, **facts)


def publication_now(request: HttpRequest, publication_id: int) -> JsonResponse:
    """``GET /admin/live/publications/ID/``: its state and steps."""
    _require_view(request)
    publication = get_object_or_404(Publication.objects.all(), pk=publication_id)
    publication = get_publication(publication.pk)
    running = publication.state in OPEN_STATES
    context = {"publication": publication, "pipeline": pipeline_of(publication), "running": running}
    html = render_to_string("controlplane/parts/pipeline.html", context, request)
    return _answer(running=running, fragments={"pipeline": html}, **_publication_facts(publication))


def version_activity(version: ModelVersion) -> dict[str, Any]:
    """Where a version is and what was done to bring it there, as the parts of its page need it."""
    publications = list(list_publications(version)[:SHOWN_PUBLICATIONS])
    return {
        "version": version,
        "placements": list(version.placements.select_related("server__pool").order_by("server__pool", "server__name")),
        "pipelines": [{"publication": each, "pipeline": pipeline_of(each)} for each in publications],
        "running": any(publication.state in OPEN_STATES for publication in publications),
    }


def _publication_facts(publication: Publication) -> dict[str, Any]:
    steps = [
        {
            "step": step.step.value,
            "state": step.state,
            "duration_s": step.run.duration_s if step.run else None,
            "detail": step.run.detail if step.run else "",
            "error": step.run.error if step.run else "",
        }
        for step in pipeline_of(publication)
    ]
    return {"id": publication.pk, "state": publication.state, "error": publication.error, "steps": steps}


def _require_view(request: HttpRequest) -> None:
    if not may(request, Permission.VIEW):
        raise PermissionDenied


def _answer(**content: Any) -> JsonResponse:
    return JsonResponse(content)
