"""The admin site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

if TYPE_CHECKING:
    _UnfoldAdminSite = AdminSite
else:
    from unfold.sites import UnfoldAdminSite as _UnfoldAdminSite


class ControlPlaneAdminSite(_UnfoldAdminSite):
    """The admin of the control plane: its first page is an overview, and some of its pages refresh themselves."""

    index_title = "Overview"
    index_template = "controlplane/overview.html"
    enable_nav_sidebar = True

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The overview."""
        from controlplane.ui.overview import overview

        return super().index(request, {**(extra_context or {}), "overview": overview()})

    def extra_urls(self) -> list[URLPattern]:
        """What the pages poll."""
        from controlplane.ui import live

        return [
            path("live/overview/", self.admin_view(live.overview_now), name="live_overview"),
            path("live/versions/<int:version_id>/", self.admin_view(live.version_now), name="live_version"),
            path(
                "live/publications/<int:publication_id>/",
                self.admin_view(live.publication_now),
                name="live_publication",
            ),
        ]
