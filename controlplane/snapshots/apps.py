"""Django app configuration."""

from django.apps import AppConfig


class SnapshotsConfig(AppConfig):
    name = "controlplane.snapshots"
    label = "snapshots"
    verbose_name = "Gateways"
