"""Django app configuration."""

from django.apps import AppConfig


class QuickstartConfig(AppConfig):
    name = "controlplane.quickstart"
    label = "quickstart"
