import pytest
from rest_framework.test import APIClient

from controlplane.registry.models import RegisteredModel
from tests.support.models import imported_version
from tests.support.rest import error_of

VERSION = "/api/models/digits/versions/1.0.0"


def test_a_version_is_approved_and_shows_who_stands_for_it(owner: APIClient) -> None:
    version = imported_version("digits")
    RegisteredModel.objects.update(requires_approval=True)
    before = owner.get(VERSION).json()
    assert (before["approvals"], before["approvals_missing"], before["signature"]) == ([], 1, {})

    response = owner.post(f"{VERSION}/approve")

    assert response.status_code == 200
    shown = response.json()
    assert (shown["state"], shown["approvals_missing"], len(shown["approvals"])) == ("approved", 0, 1)
    assert shown["signature"]["digest"] == version.digest


def test_a_developer_approves_nothing(developer: APIClient) -> None:
    imported_version("digits")
    response = developer.post(f"{VERSION}/approve")
    assert (response.status_code, error_of(response)["details"]) == (403, {"permission": "publish"})


def test_a_version_is_deprecated_with_a_message(developer: APIClient) -> None:
    imported_version("digits")
    shown = developer.post(f"{VERSION}/deprecate", {"message": "use 2.0.0"}).json()
    assert (shown["deprecated"], shown["deprecation_message"]) == (True, "use 2.0.0")
    shown = developer.post(f"{VERSION}/deprecate", {"deprecated": False}).json()
    assert (shown["deprecated"], shown["deprecation_message"]) == (False, "")


def test_a_model_says_what_its_requests_are(owner: APIClient) -> None:
    said = {
        "slug": "writer",
        "capabilities": ["streaming"],
        "parameters": {"top_k": {"type": "integer", "default": 5, "min": 1, "max": 100}},
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
        "requires_approval": True,
        "keep_versions": 3,
    }
    response = owner.post("/api/models", said)
    assert response.status_code == 201
    shown = response.json()
    assert {name: shown[name] for name in said} == said


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("parameters", {"top_k": {"type": "integer", "default": 500, "max": 100}}, "model.invalid_schema"),
        ("parameters", {"timeout": {"type": "integer"}}, "model.invalid_schema"),
        ("parameters", [], "invalid_request"),
        ("input_schema", {"type": "array"}, "model.invalid_schema"),
        ("capabilities", ["a b"], "model.invalid_schema"),
        ("default_alias", "preview", "name.invalid"),
        ("keep_versions", -1, "invalid_request"),
    ],
)
def test_what_does_not_hold_together_is_refused(owner: APIClient, field: str, value: object, code: str) -> None:
    response = owner.post("/api/models", {"slug": "writer", field: value})
    assert (response.status_code, error_of(response)["code"]) == (400, code)
    assert not RegisteredModel.objects.exists()
