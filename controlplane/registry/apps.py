"""Django app configuration."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "controlplane.registry"
    label = "registry"
    verbose_name = "Models"
