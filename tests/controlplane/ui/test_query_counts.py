"""Lists and the overview cost the same number of queries however much there is to show."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from controlplane.access.models import Organisation, Plan, Project
from controlplane.access.services import issue_api_key
from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.models import User
from controlplane.accounts.services import create_user, issue_token
from controlplane.fleet.domain import Health, PublicationState
from controlplane.fleet.models import Placement, Publication
from controlplane.fleet.services import publish_version
from controlplane.registry.domain import VersionState
from controlplane.registry.services import ModelFields, create_model, set_alias
from controlplane.snapshots.models import Gateway
from controlplane.usage.models import HourlyUsage
from tests.controlplane.ui.conftest import BOOT, Scene, add_pool, add_version, page
from tests.controlplane.ui.test_permissions import LISTS


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


def add_one_of_each(index: int, plan: Plan) -> None:
    model = create_model(BOOT, slug=f"model-{index}", fields=ModelFields(tags=[f"tag-{index}"]))
    pool = add_pool(f"pool-{index}")
    server = pool.servers.get()
    server.health = Health.DOWN if index % 2 else Health.LIVE
    server.save()
    version = add_version(model, "1.0.0", VersionState.PUBLISHED)
    set_alias(BOOT, model=model, name="production", version=version)
    Placement.objects.create(server=server, version=version, proven=True)
    publication = publish_version(BOOT, version=version, pool=pool)
    Publication.objects.filter(pk=publication.pk).update(state=PublicationState.FAILED, error="no memory")
    organisation = Organisation.objects.create(slug=f"organisation-{index}", name="O")
    project = Project.objects.create(organisation=organisation, slug="project", name="P")
    Plan.objects.create(slug=f"plan-{index}", title="P")
    soon = timezone.now() + timedelta(days=1)
    issue_api_key(BOOT, project=project, plan=plan, label=f"key {index}", expires_at=soon)
    user = create_user(BOOT, username=f"person-{index}", password="x", role=Role.VIEWER)
    issue_token(BOOT, name="t", scope=TokenScope.CONTROL, user=user)
    Gateway.objects.create(name=f"gateway-{index}", seen_at=timezone.now() - timedelta(minutes=2))
    HourlyUsage.objects.create(
        hour=timezone.now(),
        key_number=1,
        model_number=model.pk,
        version_number=1,
        arm=0,
        cause=0,
        protocol=1,
        requests=5,
    )


@pytest.mark.parametrize(
    "address", ["/admin/", "/admin/live/overview/", page("accounts_user"), *(page(name) for name in LISTS)]
)
def test_a_page_costs_the_same_with_many_rows(
    owner: Client, scene: Scene, defaults: tuple[Project, Plan], address: str
) -> None:
    _, plan = defaults
    for index in range(2):
        add_one_of_each(index, plan)
    few = queries(owner, address)
    for index in range(2, 8):
        add_one_of_each(index, plan)
    assert queries(owner, address) == few
    assert few <= 25


def test_a_versions_page_costs_the_same_with_many_servers(owner: Client, scene: Scene) -> None:
    address = page("registry_modelversion", scene.published.pk)
    publish_version(BOOT, version=scene.published, pool=scene.pool)
    few = queries(owner, address)
    for index in range(6):
        pool = add_pool(f"pool-{index}")
        Placement.objects.create(server=pool.servers.get(), version=scene.published)
        publish_version(BOOT, version=scene.published, pool=pool)
    assert queries(owner, address) <= few + 1
    assert User.objects.count() == 1
