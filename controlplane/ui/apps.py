"""The admin site's configuration."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class UiConfig(AppConfig):
    name = "controlplane.ui"
    label = "ui"


class ControlPlaneAdminConfig(AdminConfig):
    default_site = "controlplane.ui.site.ControlPlaneAdminSite"
