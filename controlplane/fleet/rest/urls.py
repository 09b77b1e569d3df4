"""Routes of the REST API."""

from django.urls import path

from controlplane.accounts.rest import paths  # noqa: F401 - registers <name:>
from controlplane.fleet.rest.pools import PoolsView, PoolView
from controlplane.fleet.rest.publications import PublicationCancelView, PublicationRetryView, PublicationView
from controlplane.fleet.rest.servers import ServerCordonView, ServersView, ServerUncordonView, ServerView
from controlplane.fleet.rest.versions import VersionPublishView, VersionRestoreView, VersionRetireView, VersionView

urlpatterns = [
    path("models/<name:slug>/versions/<name:version>", VersionView.as_view()),
    path("models/<name:slug>/versions/<name:version>/publish", VersionPublishView.as_view()),
    path("models/<name:slug>/versions/<name:version>/retire", VersionRetireView.as_view()),
    path("models/<name:slug>/versions/<name:version>/restore", VersionRestoreView.as_view()),
    path("publications/<int:publication_id>", PublicationView.as_view()),
    path("publications/<int:publication_id>/retry", PublicationRetryView.as_view()),
    path("publications/<int:publication_id>/cancel", PublicationCancelView.as_view()),
    path("pools", PoolsView.as_view()),
    path("pools/<name:slug>", PoolView.as_view()),
    path("servers", ServersView.as_view()),
    path("servers/<name:name>", ServerView.as_view()),
    path("servers/<name:name>/cordon", ServerCordonView.as_view()),
    path("servers/<name:name>/uncordon", ServerUncordonView.as_view()),
]
