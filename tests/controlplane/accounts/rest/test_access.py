"""What holds for every endpoint: who gets in, and what hostile requests are answered."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from rest_framework.test import APIClient

from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.rest.parsers import MAX_JSON_BYTES
from controlplane.accounts.services import create_user, issue_token, revoke_token
from tests.support.rest import ACTOR, bearer, client_of, error_of

# The description of the API is the same for everybody, and in the repository.
PUBLIC = {"api/schema/", "api/docs/"}

EXAMPLES = {"int": "1", "name": "x", "uuid": "00000000-0000-4000-8000-000000000000"}
"""Something in the place of each converter's value."""


def api_paths() -> list[str]:
    """Every path of the API, with something in the place of each name."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[str]:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, path)
            elif isinstance(pattern, URLPattern):
                yield path

    paths = [path for path in walk(get_resolver().url_patterns, "") if path.startswith("api/")]
    named = [path for path in paths if path != "api/" and path not in PUBLIC]
    return ["/" + re.sub(r"<(int|uuid|name):\w+>", lambda found: EXAMPLES[found[1]], path) for path in named]


@pytest.mark.parametrize("path", api_paths())
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_no_endpoint_opens_without_a_token(db: None, path: str, method: str) -> None:
    response = getattr(APIClient(), method)(path, {})

    assert response.status_code == 401
    assert error_of(response)["code"] == "unauthorized"
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", api_paths())
def test_no_endpoint_opens_to_somebody_without_a_role(db: None, path: str) -> None:
    response = client_of("").get(path)

    assert response.status_code == 403
    assert error_of(response)["code"] == "forbidden"


def test_all_of_the_api_was_walked() -> None:
    assert len(api_paths()) > 20


@pytest.mark.parametrize(
    "text",
    ["nonsense", "tct_live_000000000000_x_y", "x" * 5000, "\xff\xfe"],
)
def test_a_malformed_token_is_refused(db: None, text: str) -> None:
    response = bearer(text).get("/api/models")

    assert response.status_code == 401
    assert text not in error_of(response)["message"]


def test_a_gateways_token_does_not_open_the_control_api(db: None) -> None:
    secret = issue_token(ACTOR, name="gateway", scope=TokenScope.GATEWAY).secret

    response = bearer(secret).get("/api/models")

    assert response.status_code == 401
    assert error_of(response)["code"] == "unauthorized"


def test_a_token_ends_when_it_is_revoked_expires_or_its_owner_leaves(db: None) -> None:
    user = create_user(ACTOR, username="ana", password="correct horse battery", role=Role.VIEWER)
    tokens = [issue_token(ACTOR, name="t", scope=TokenScope.CONTROL, user=user) for _ in range(3)]
    assert [bearer(token.secret).get("/api/me").status_code for token in tokens] == [200, 200, 200]

    revoke_token(ACTOR, token=tokens[0].token)
    ApiToken.objects.filter(pk=tokens[1].token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert [bearer(token.secret).get("/api/me").status_code for token in tokens] == [401, 401, 200]
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert bearer(tokens[2].secret).get("/api/me").status_code == 401


def test_a_caller_learns_who_they_are(developer: APIClient) -> None:
    me = developer.get("/api/me").json()

    assert me["username"].startswith("developer")
    assert me["role"] == "developer"
    assert me["permissions"] == ["manage_keys", "manage_models", "view"]
    assert me["token"] == {"name": "tests", "expires_at": None}


def test_a_session_is_as_good_as_a_token_but_writes_need_the_csrf_token(db: None) -> None:
    create_user(ACTOR, username="ana", password="correct horse battery", role=Role.OWNER)
    browser = APIClient(enforce_csrf_checks=True)
    browser.login(username="ana", password="correct horse battery")

    assert browser.get("/api/me").json()["token"] is None
    response = browser.post("/api/models", {"slug": "digits"})
    assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"slug": NaN}', b"[" * 100_000, b'{"slug": "\xed\xa0\x80"}'])
def test_a_body_that_is_no_json_is_refused(owner: APIClient, body: bytes) -> None:
    response = owner.post("/api/models", body, content_type="application/json")

    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "invalid_request"
    assert "JSON parse error" in error["message"]


def test_a_body_is_read_up_to_a_limit(owner: APIClient) -> None:
    response = owner.post("/api/models", b" " * (MAX_JSON_BYTES + 1), content_type="application/json")

    assert response.status_code == 413
    assert str(MAX_JSON_BYTES) in error_of(response)["message"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_another_content_type_is_refused(owner: APIClient, content_type: str) -> None:
    response = owner.post("/api/models", b"slug=digits", content_type=content_type)

    assert response.status_code == 415
    assert error_of(response)["code"] == "unsupported_media_type"


def test_another_method_is_refused(owner: APIClient) -> None:
    response = owner.delete("/api/models")

    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/models/", "/api/keys/a/b/c", "/api/models/a%00b"])
def test_an_unknown_path_is_answered_in_the_apis_form(owner: APIClient, path: str) -> None:
    for response in (owner.get(path), APIClient().post(path, b"x", content_type="text/plain")):
        assert response.status_code == 404
        assert error_of(response)["code"] == "not_found"


def test_no_answer_may_be_kept(owner: APIClient) -> None:
    assert owner.get("/api/models")["Cache-Control"] == "no-store"
    assert owner.get("/api/models/nothing")["Cache-Control"] == "no-store"
