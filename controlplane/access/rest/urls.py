"""Routes of the REST API."""

from django.urls import path

from controlplane.access.rest.keys import KeyRevocationView, KeysView, KeyView
from controlplane.accounts.rest import paths  # noqa: F401 - registers <name:>

urlpatterns = [
    path("keys", KeysView.as_view()),
    path("keys/<name:key_id>", KeyView.as_view()),
    path("keys/<name:key_id>/revoke", KeyRevocationView.as_view()),
]
