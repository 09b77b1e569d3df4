"""Who may see and do what: the roles of the control plane, not Django's permissions."""

from __future__ import annotations

import pytest
from django.test import Client

from controlplane.access.services import issue_api_key
from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.models import User
from controlplane.accounts.services import issue_token
from controlplane.audit.models import AuditEvent
from controlplane.fleet.services import publish_version
from controlplane.snapshots.models import Gateway
from tests.controlplane.ui.conftest import BOOT, Scene, SignIn, page

LISTS = [
    "registry_registeredmodel",
    "registry_modelversion",
    "fleet_publication",
    "fleet_server",
    "fleet_pool",
    "snapshots_gateway",
    "access_apikey",
    "access_project",
    "access_organisation",
    "access_plan",
    "accounts_apitoken",
    "audit_auditevent",
]
RANK = [Role.VIEWER, Role.DEVELOPER, Role.OPERATOR, Role.OWNER]


@pytest.mark.parametrize("role", RANK)
@pytest.mark.parametrize("name", LISTS)
def test_every_role_sees_every_list(sign_in: SignIn, role: Role, name: str) -> None:
    assert sign_in(role).get(page(name)).status_code == 200


@pytest.mark.parametrize("role", RANK)
def test_only_owners_see_the_people(sign_in: SignIn, role: Role) -> None:
    assert sign_in(role).get(page("accounts_user")).status_code == (200 if role == Role.OWNER else 403)


@pytest.mark.parametrize(
    ("address", "least"),
    [
        (page("registry_registeredmodel", step="add"), Role.DEVELOPER),
        (page("registry_modelversion", step="add"), Role.DEVELOPER),
        (page("access_apikey", step="add"), Role.DEVELOPER),
        (page("fleet_pool", step="add"), Role.OPERATOR),
        (page("fleet_server", step="add"), Role.OPERATOR),
        (page("accounts_user", step="add"), Role.OWNER),
        (page("accounts_apitoken", step="add"), Role.VIEWER),
    ],
)
@pytest.mark.parametrize("role", RANK)
def test_adding_needs_a_role_that_may(sign_in: SignIn, role: Role, address: str, least: Role) -> None:
    allowed = RANK.index(role) >= RANK.index(least)
    assert sign_in(role).get(address).status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("name", "step", "least"),
    [
        ("registry_registeredmodel", "edit", Role.DEVELOPER),
        ("registry_registeredmodel", "alias", Role.OPERATOR),
        ("registry_modelversion", "publish", Role.OPERATOR),
        ("fleet_server", "cordon", Role.OPERATOR),
    ],
)
@pytest.mark.parametrize("role", RANK)
def test_a_step_is_offered_and_open_to_the_same_people(
    sign_in: SignIn, scene: Scene, role: Role, name: str, step: str, least: Role
) -> None:
    objects = {"registry_registeredmodel": scene.model, "registry_modelversion": scene.validated}
    pk = objects[name].pk if name in objects else scene.server.pk
    allowed = RANK.index(role) >= RANK.index(least)
    client = sign_in(role)
    assert (page(name, pk, step) in client.get(page(name, pk)).content.decode()) is allowed
    assert client.get(page(name, pk, step)).status_code == (200 if allowed else 403)
    if not allowed:
        assert client.post(page(name, pk, step), {"_step": "1"}).status_code == 403


def test_every_objects_page_opens_for_a_viewer(viewer: Client, scene: Scene, defaults: tuple[object, object]) -> None:
    project, plan = defaults
    key = issue_api_key(BOOT, project=project, plan=plan, label="shop").key  # type: ignore[arg-type]
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    gateway = Gateway.objects.create(name="gateway-1", seen_at=publication.created_at)
    event = AuditEvent.objects.latest("id")
    for name, pk in [
        ("registry_registeredmodel", scene.model.pk),
        ("registry_modelversion", scene.published.pk),
        ("registry_modelversion", scene.validated.pk),
        ("fleet_publication", publication.pk),
        ("fleet_server", scene.server.pk),
        ("fleet_pool", scene.pool.pk),
        ("snapshots_gateway", gateway.pk),
        ("access_apikey", key.pk),
        ("access_project", key.project_id),
        ("access_organisation", key.project.organisation_id),
        ("access_plan", key.plan_id),
        ("audit_auditevent", event.pk),
    ]:
        assert viewer.get(page(name, pk)).status_code == 200, name


@pytest.mark.parametrize("name", [*LISTS, "accounts_user"])
def test_nothing_is_deleted_here(owner: Client, scene: Scene, name: str) -> None:
    assert owner.get(page(name, 1, "delete")).status_code in {302, 403}  # 302: there is no object 1
    assert "delete_selected" not in owner.get(page(name)).content.decode()


def test_a_page_is_never_saved_as_a_form(owner: Client, scene: Scene) -> None:
    for name, pk in (("registry_registeredmodel", scene.model.pk), ("fleet_server", scene.server.pk)):
        assert owner.post(page(name, pk), {"slug": "other", "name": "other"}).status_code == 403
    scene.model.refresh_from_db()
    assert scene.model.slug == "digits"


def test_who_is_not_staff_is_sent_to_the_login(client: Client, scene: Scene) -> None:
    outsider = User.objects.create(username="outsider", role=Role.OWNER, is_staff=False)
    for signed_in in (False, True):
        if signed_in:
            client.force_login(outsider)
        for address in ("/admin/", page("access_apikey"), f"/admin/live/versions/{scene.published.pk}/"):
            response = client.get(address)
            assert response.status_code == 302
            assert response["Location"].startswith("/admin/login/")


def test_one_sees_ones_own_tokens_only(sign_in: SignIn, owner: Client) -> None:
    viewer = sign_in(Role.VIEWER)
    people = {user.role: user for user in User.objects.all()}
    mine = issue_token(BOOT, name="mine", scope=TokenScope.CONTROL, user=people[Role.VIEWER]).token
    other = issue_token(BOOT, name="somebodys", scope=TokenScope.CONTROL, user=people[Role.OWNER]).token
    text = viewer.get(page("accounts_apitoken")).content.decode()
    assert mine.token_id in text
    assert other.token_id not in text
    assert viewer.post(page("accounts_apitoken", other.pk, "revoke"), {"_step": "1"}).status_code == 404
    assert other.token_id in owner.get(page("accounts_apitoken")).content.decode()
