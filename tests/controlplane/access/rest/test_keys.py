from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from controlplane.access.models import ApiKey
from controlplane.access.services import ensure_defaults, issue_api_key
from controlplane.audit.models import AuditEvent, PendingChange
from controlplane.wire.keys import parse_key
from tests.support.models import ACTOR
from tests.support.rest import error_of

pytestmark = pytest.mark.usefixtures("defaults")


@pytest.fixture
def defaults(db: None) -> None:
    ensure_defaults(ACTOR)


def issue(label: str, **options: Any) -> ApiKey:
    project, plan = ensure_defaults(ACTOR)
    return issue_api_key(ACTOR, project=project, plan=plan, label=label, **options).key


def test_a_key_shows_its_secret_once(owner: APIClient) -> None:
    created = owner.post("/api/keys", {"label": "ci"})

    assert created.status_code == 201
    key = created.json()
    parsed = parse_key(key["secret"])
    assert parsed is not None
    assert parsed.key_id == key["id"]
    assert created["Cache-Control"] == "no-store"
    expected = {name: value for name, value in key.items() if name != "secret"}
    assert owner.get(f"/api/keys/{key['id']}").json() == expected
    assert owner.get("/api/keys").json()["results"] == [expected]
    assert (key["organisation"], key["project"], key["plan"]) == ("default", "default", "local")
    assert (key["models"], key["state"], key["expires_at"]) == (["*"], "active", None)
    assert PendingChange.objects.filter(kind="key", name=key["id"]).exists()


def test_no_secret_is_written_down(owner: APIClient) -> None:
    secret = owner.post("/api/keys", {"label": "ci"}).json()["secret"]

    assert secret.encode() not in bytes(ApiKey.objects.get().digest)
    assert all(secret not in f"{event.before}{event.after}" for event in AuditEvent.objects.all())


def test_a_key_is_as_narrow_as_asked(owner: APIClient) -> None:
    expires_at = (timezone.now() + timedelta(days=1)).isoformat()

    key = owner.post(
        "/api/keys",
        {
            "label": "shop",
            "environment": "test",
            "owner": "ana",
            "scopes": ["infer"],
            "models": ["digits", "ranker-*"],
            "expires_at": expires_at,
        },
    ).json()

    assert (key["environment"], key["owner"], key["scopes"]) == ("test", "ana", ["infer"])
    assert key["models"] == ["digits", "ranker-*"]
    assert key["secret"].startswith("tgk_test_")
    assert key["expires_at"] is not None


def test_a_revoked_key_says_why(owner: APIClient) -> None:
    key = issue("ci")

    response = owner.post(f"/api/keys/{key.key_id}/revoke", {"reason": "leaked"})

    assert response.status_code == 200
    assert (response.json()["state"], response.json()["revoked_reason"]) == ("revoked", "leaked")
    again = owner.post(f"/api/keys/{key.key_id}/revoke", {"reason": "to be sure"})
    assert (again.status_code, again.json()["revoked_reason"]) == (200, "leaked")


def test_a_key_ends_for_a_reason(owner: APIClient) -> None:
    key = issue("ci")

    response = owner.post(f"/api/keys/{key.key_id}/revoke", {})

    assert response.status_code == 400
    assert "reason" in error_of(response)["details"]
    key.refresh_from_db()
    assert key.state == "active"


def test_keys_are_found_by_state_and_text(owner: APIClient) -> None:
    issue("website")
    expired, revoked = issue("batch"), issue("crawler")
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    owner.post(f"/api/keys/{revoked.key_id}/revoke", {"reason": "done"})

    def labels(**query: str) -> list[str]:
        return [key["label"] for key in owner.get("/api/keys", query).json()["results"]]

    assert labels() == ["crawler", "batch", "website"]
    assert (labels(state="active"), labels(state="expired"), labels(state="revoked")) == (
        ["website"],
        ["batch"],
        ["crawler"],
    )
    assert labels(search="BAT") == ["batch"]
    assert labels(organisation="default", project="other") == []
    assert owner.get("/api/keys", {"state": "lost"}).status_code == 400


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"label": "  "}, 400, "invalid_request"),
        ({"label": "ci", "scopes": ["admin"]}, 400, "invalid_request"),
        ({"label": "ci", "expires_at": "tomorrow"}, 400, "invalid_request"),
        ({"label": "ci", "secret": "mine"}, 400, "invalid_request"),
        ({"label": "ci", "expires_at": "2020-01-01T00:00:00Z"}, 400, "key.invalid_request"),
        ({"label": "ci", "models": ["a b"]}, 400, "key.invalid_request"),
        ({"label": "ci", "models": []}, 400, "key.invalid_request"),
        ({"label": "ci", "environment": "Live!"}, 400, "key.invalid_environment"),
        ({"label": "ci", "project": "nothing"}, 404, "project.not_found"),
        ({"label": "ci", "plan": "gold"}, 404, "plan.not_found"),
    ],
)
def test_a_refused_request_issues_nothing(owner: APIClient, body: Any, status: int, code: str) -> None:
    response = owner.post("/api/keys", body)

    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert not ApiKey.objects.exists()


def test_unknown_keys_are_not_found(owner: APIClient) -> None:
    assert error_of(owner.get("/api/keys/nothing"))["code"] == "key.not_found"
    assert error_of(owner.post("/api/keys/nothing/revoke", {"reason": "x"}))["code"] == "key.not_found"


def test_a_viewer_neither_issues_nor_revokes(viewer: APIClient) -> None:
    key = issue("ci")

    issued = viewer.post("/api/keys", {"label": "mine"})
    revoked = viewer.post(f"/api/keys/{key.key_id}/revoke", {"reason": "x"})

    assert (issued.status_code, revoked.status_code) == (403, 403)
    assert error_of(issued)["details"] == {"permission": "manage_keys"}
    key.refresh_from_db()
    assert key.state == "active"


def test_a_list_costs_the_same_queries_however_long_it_is(owner: APIClient, django_assert_num_queries: Any) -> None:
    owner.get("/api/keys")
    for index in range(5):
        issue(f"key {index}")

    # the token, the count, the keys with whom they belong to
    with django_assert_num_queries(3):
        assert len(owner.get("/api/keys").json()["results"]) == 5
