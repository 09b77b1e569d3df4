"""Where everything is."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from controlplane.snapshots.rest import gateway_api
from controlplane.ui import health

handler500 = "controlplane.ui.failures.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", include("controlplane.accounts.rest.urls")),
    path("api/", include("controlplane.registry.rest.urls")),
    path("api/", include("controlplane.access.rest.urls")),
    path("api/", include("controlplane.fleet.rest.urls")),
    path("api/", include("controlplane.usage.rest.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="swagger"),
    path("api/", include("controlplane.accounts.rest.fallback_urls")),
    path("internal/snapshot", gateway_api.snapshot),
    path("internal/usage", gateway_api.usage),
    path("health", health.alive),
    path("ready", health.ready),
    path("metrics", health.metrics),
]
