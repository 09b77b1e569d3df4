"""A secret is shown once, in the answer to the request that made it, and is nowhere else."""

from __future__ import annotations

import re

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from controlplane.access.models import ApiKey, Plan, Project
from controlplane.access.services import issue_api_key
from controlplane.accounts.models import ApiToken
from controlplane.audit.models import AuditEvent
from controlplane.registry.models import GoldenSample
from controlplane.registry.services import set_alias
from tests.controlplane.ui.conftest import BOOT, Scene, page

pytestmark = pytest.mark.django_db
SECRET = re.compile(r"(?:tgk|tct|tgt)_[a-z0-9]+_[0-9a-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")
KEY = {"label": "shop", "environment": "live", "models": "digits fraud-*", "scopes": ["infer", "metadata"]}


def issue(client: Client, defaults: tuple[Project, Plan], **changes: object) -> str:
    project, plan = defaults
    data = {"_step": "1", **KEY, "project": project.pk, "plan": plan.pk, **changes}
    response = client.post(page("access_apikey", step="add"), data)
    assert "no-store" in response["Cache-Control"]
    return str(response.content.decode())


def test_a_new_key_is_shown_once_and_works_in_its_snippets(owner: Client, defaults: tuple[Project, Plan]) -> None:
    text = issue(owner, defaults)
    found = set(SECRET.findall(text))
    assert len(found) == 1
    key = ApiKey.objects.get()
    assert key.key_id in found.pop()
    assert (key.model_patterns, key.scopes) == (["digits", "fraud-*"], ["infer", "metadata"])
    for piece in ("curl -sS", "tritonclient.http", "tritonclient.grpc", "http://127.0.0.1:8000", "data-copy"):
        assert piece in text


def test_the_snippets_send_a_golden_sample_of_a_model_the_key_may_use(
    owner: Client, defaults: tuple[Project, Plan], scene: Scene
) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.25, 0.5]}
    GoldenSample.objects.create(version=scene.published, name="one", inputs=[tensor], outputs=[tensor])
    set_alias(BOOT, model=scene.model, name="production", version=scene.published)
    text = issue(owner, defaults)
    assert "/v2/models/digits/infer" in text
    assert "0.25, 0.5" in text
    assert "/v2/models/digits/infer" not in issue(owner, defaults, models="fraud-*")


def test_a_secret_is_on_no_other_page_and_in_no_row(owner: Client, defaults: tuple[Project, Plan]) -> None:
    secret = SECRET.findall(issue(owner, defaults))[0]
    key = ApiKey.objects.get()
    digest = bytes(key.digest).hex()
    for address in (
        page("access_apikey"),
        page("access_apikey", key.pk),
        page("audit_auditevent"),
        page("audit_auditevent", AuditEvent.objects.latest("id").pk),
        "/admin/",
    ):
        text = owner.get(address).content.decode()
        assert secret not in text
        assert secret.split("_")[3] not in text
        assert digest not in text
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())
    assert all(secret not in f"{event.before}{event.after}" for event in AuditEvent.objects.all())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": "UPPER"}, "are no model patterns"),
        ({"expires_at": "2001-01-01T00:00"}, "The expiry lies in the past."),
        ({"environment": "Live!"}, "is no key environment"),
        ({"label": ""}, "This field is required."),
    ],
)
def test_what_the_service_refuses_is_an_error_of_the_form(
    owner: Client, defaults: tuple[Project, Plan], changes: dict[str, str], said: str
) -> None:
    text = issue(owner, defaults, **changes)
    assert said in text
    assert not SECRET.search(text)
    assert not ApiKey.objects.exists()
    assert "fraud-*" in text or "models" in changes  # what was typed is still there


def test_a_key_is_revoked_with_a_reason(owner: Client, defaults: tuple[Project, Plan]) -> None:
    project, plan = defaults
    key = issue_api_key(BOOT, project=project, plan=plan, label="leaked").key
    address = page("access_apikey", key.pk, "revoke")
    assert b"This field is required." in owner.post(address, {"_step": "1"}).content
    key.refresh_from_db()
    assert key.revoked_at is None
    owner.post(address, {"_step": "1", "reason": "found in a gist"})
    key.refresh_from_db()
    assert (key.state, key.revoked_reason) == ("revoked", "found in a gist")
    assert address not in owner.get(page("access_apikey", key.pk)).content.decode()


def test_following_a_link_revokes_nothing(owner: Client, defaults: tuple[Project, Plan]) -> None:
    project, plan = defaults
    key = issue_api_key(BOOT, project=project, plan=plan, label="shop").key
    assert owner.get(page("access_apikey", key.pk, "revoke")).status_code == 200
    key.refresh_from_db()
    assert key.revoked_at is None


@pytest.mark.parametrize(("scope", "prefix"), [("control", "tct_"), ("gateway", "tgt_")])
def test_a_token_is_shown_once(owner: Client, scope: str, prefix: str) -> None:
    data = {"_step": "1", "name": "ci", "scope": scope}
    secret = SECRET.findall(owner.post(page("accounts_apitoken", step="add"), data).content.decode())[0]
    assert secret.startswith(prefix)
    token = ApiToken.objects.get()
    assert (token.user is None) is (scope == "gateway")
    assert secret not in owner.get(page("accounts_apitoken", token.pk)).content.decode()
    owner.post(page("accounts_apitoken", token.pk, "revoke"), {"_step": "1"})
    token.refresh_from_db()
    assert not token.usable


def test_a_viewer_cannot_make_a_token_for_a_gateway(viewer: Client) -> None:
    response = viewer.post(page("accounts_apitoken", step="add"), {"_step": "1", "name": "g", "scope": "gateway"})
    assert response.status_code == 400
    assert b"needs the permission" in response.content
    assert not ApiToken.objects.exists()
