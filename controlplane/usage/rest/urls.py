"""Routes of the REST API."""

from django.urls import path

from controlplane.accounts.rest import paths  # noqa: F401 - registers <name:>
from controlplane.usage.rest.models import ModelMetricsView

urlpatterns = [
    path("models/<name:slug>/metrics", ModelMetricsView.as_view()),
]
