"""What a client sees of an error nobody foresaw: an apology in its protocol's form, and nothing of our inside."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

_JSON_PATHS = ("/api/", "/internal/", "/health", "/ready")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500 page for browsers, JSON for programs. The trace is in the web process' log."""
    if request.path.startswith(_JSON_PATHS):
        message = "The control plane failed on this request; its log says why."
        return JsonResponse({"error": {"code": "internal", "message": message, "details": {}}}, status=500)
    return defaults.server_error(request)
