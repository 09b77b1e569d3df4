"""Routes of the REST API."""

from django.urls import path

from controlplane.accounts.rest import paths  # noqa: F401 - registers <name:>
from controlplane.registry.rest.aliases import AliasesView, AliasView
from controlplane.registry.rest.imports import ImportCancelView, ImportRetryView, ImportsView, ImportView
from controlplane.registry.rest.models import ModelsView, ModelView
from controlplane.registry.rest.uploads import UploadsView, UploadView
from controlplane.registry.rest.versions import VersionApproveView, VersionDeprecateView, VersionsView

urlpatterns = [
    path("models", ModelsView.as_view()),
    path("models/<name:slug>", ModelView.as_view()),
    path("models/<name:slug>/versions", VersionsView.as_view()),
    path("models/<name:slug>/versions/<name:version>/approve", VersionApproveView.as_view()),
    path("models/<name:slug>/versions/<name:version>/deprecate", VersionDeprecateView.as_view()),
    path("models/<name:slug>/aliases", AliasesView.as_view()),
    path("models/<name:slug>/aliases/<name:alias>", AliasView.as_view()),
    path("uploads", UploadsView.as_view()),
    path("uploads/<uuid:upload_id>", UploadView.as_view()),
    path("imports", ImportsView.as_view()),
    path("imports/<int:import_id>", ImportView.as_view()),
    path("imports/<int:import_id>/cancel", ImportCancelView.as_view()),
    path("imports/<int:import_id>/retry", ImportRetryView.as_view()),
]
