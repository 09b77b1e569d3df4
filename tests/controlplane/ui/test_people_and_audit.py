"""People, their roles and passwords, and the log of what they did."""

from __future__ import annotations

import csv
import io

from django.test import Client

from controlplane.accounts.domain import Role
from controlplane.accounts.models import User
from controlplane.audit.models import AuditEvent
from controlplane.audit.services import record
from tests.controlplane.ui.conftest import BOOT, Scene, SignIn, page

PASSWORD = "correct-horse-battery"


def test_a_new_person_can_sign_in(owner: Client, client: Client) -> None:
    fields = {"_step": "1", "username": "ana", "role": "operator", "password": PASSWORD, "repeated": PASSWORD}
    owner.post(page("accounts_user", step="add"), fields)
    assert client.login(username="ana", password=PASSWORD)
    assert client.get(page("fleet_server", step="add")).status_code == 200


def test_a_weak_or_mistyped_password_is_refused(owner: Client) -> None:
    for password, repeated, said in (("12345678", "12345678", "too common"), (PASSWORD, "other", "passwords differ")):
        fields = {"_step": "1", "username": "ana", "role": "viewer", "password": password, "repeated": repeated}
        response = owner.post(page("accounts_user", step="add"), fields)
        assert said in response.content.decode()
        assert PASSWORD not in response.content.decode()
    assert not User.objects.filter(username="ana").exists()


def test_a_role_is_changed_and_recorded(owner: Client, sign_in: SignIn) -> None:
    sign_in(Role.VIEWER)
    user = User.objects.get(role=Role.VIEWER)
    owner.post(page("accounts_user", user.pk, "role"), {"_step": "1", "role": "developer", "active": "on"})
    user.refresh_from_db()
    assert user.role == Role.DEVELOPER
    event = AuditEvent.objects.latest("id")
    assert (event.action, event.before, event.after) == (
        "accounts.update_user",
        {"role": "viewer"},
        {"role": "developer"},
    )


def test_the_last_owner_cannot_lock_everybody_out(owner: Client) -> None:
    user = User.objects.get()
    for fields in ({"role": "viewer", "active": "on"}, {"role": "owner"}):
        response = owner.post(page("accounts_user", user.pk, "role"), {"_step": "1", **fields})
        assert "is the last owner" in response.content.decode()
    user.refresh_from_db()
    assert (user.role, user.is_active) == (Role.OWNER, True)


def test_a_new_password_ends_the_persons_sessions(owner: Client, sign_in: SignIn) -> None:
    viewer = sign_in(Role.VIEWER)
    user = User.objects.get(role=Role.VIEWER)
    fields = {"_step": "1", "password": PASSWORD, "repeated": PASSWORD}
    owner.post(page("accounts_user", user.pk, "set-password"), fields)
    assert viewer.get("/admin/").status_code == 302
    assert PASSWORD not in str(AuditEvent.objects.latest("id").__dict__)


def test_an_event_shows_what_changed(viewer: Client, scene: Scene) -> None:
    event = record(BOOT, action="registry.update_model", target=scene.model, before={"a": 1}, after={"a": 2, "b": [3]})
    text = viewer.get(page("audit_auditevent", event.pk)).content.decode()
    for piece in ("<del>1</del>", "<ins>2</ins>", "<ins>[3]</ins>"):
        assert piece in text


def test_the_history_of_an_object_is_its_part_of_the_log(viewer: Client, scene: Scene) -> None:
    response = viewer.get(page("registry_registeredmodel", scene.model.pk, "history"), follow=True)
    assert response.status_code == 200
    text = response.content.decode()
    assert "registry.create_model" in text
    assert text.count("data-row") == 1


def test_the_export_holds_the_chosen_events_and_no_formulas(viewer: Client, scene: Scene) -> None:
    scene.model.slug = "=cmd()"
    event = record(BOOT, action="registry.create_model", target=scene.model)
    chosen = {"action": "export_csv", "_selected_action": [event.pk]}
    response = viewer.post(page("audit_auditevent"), chosen)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert [row["object_label"] for row in rows] == ["'=cmd()"]
