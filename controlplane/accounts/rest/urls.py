"""Routes of the REST API."""

from django.urls import path

from controlplane.accounts.rest.me import MeView

urlpatterns = [
    path("me", MeView.as_view()),
]
