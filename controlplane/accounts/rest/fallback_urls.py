"""The last routes of the REST API: whatever no other route took."""

from django.urls import re_path

from controlplane.accounts.rest.views import UnknownPathView

urlpatterns = [
    re_path("", UnknownPathView.as_view()),
]
