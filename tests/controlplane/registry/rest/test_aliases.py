from typing import Any

import pytest
from rest_framework.test import APIClient

from controlplane.audit.models import PendingChange
from tests.controlplane.registry.rest.test_models import publish
from tests.support.models import imported_version, registered_model
from tests.support.rest import error_of

PRODUCTION = "/api/models/digits/aliases/production"


def test_an_alias_remembers_where_it_pointed(owner: APIClient) -> None:
    publish(imported_version("digits", "1.0.0"))
    publish(imported_version("digits", "1.1.0"))

    first = owner.put(PRODUCTION, {"version": "1.0.0"})
    second = owner.put(PRODUCTION, {"version": "v2"})

    assert (first.status_code, second.status_code) == (200, 200)
    alias = owner.get(PRODUCTION).json()
    assert (alias["alias"], alias["version"], alias["number"], alias["default"]) == ("production", "1.1.0", 2, True)
    assert [(move["from_version"], move["to_version"]) for move in alias["history"]] == [
        ("1.0.0", "1.1.0"),
        (None, "1.0.0"),
    ]
    assert owner.get("/api/models/digits/aliases").json()["results"] == [alias]
    assert PendingChange.objects.filter(kind="model", name="digits").exists()


def test_an_alias_points_at_published_versions_only(owner: APIClient) -> None:
    imported_version("digits")

    response = owner.put(PRODUCTION, {"version": "1.0.0"})

    assert response.status_code == 409
    assert error_of(response)["code"] == "version.invalid_transition"


@pytest.mark.parametrize("name", ["v3", "preview", "Production", "a b", "x" * 51])
def test_reserved_and_malformed_names_are_refused(owner: APIClient, name: str) -> None:
    publish(imported_version("digits"))

    response = owner.put(f"/api/models/digits/aliases/{name}", {"version": "1.0.0"})

    assert response.status_code == 400
    assert error_of(response)["code"] == "name.invalid"


def test_what_is_unknown_is_not_found(owner: APIClient) -> None:
    registered_model("digits")

    unknown_alias, unknown_version = owner.get(PRODUCTION), owner.put(PRODUCTION, {"version": "9.9.9"})

    assert (unknown_alias.status_code, error_of(unknown_alias)["code"]) == (404, "alias.not_found")
    assert (unknown_version.status_code, error_of(unknown_version)["code"]) == (404, "version.not_found")


def test_a_developer_does_not_move_aliases(developer: APIClient) -> None:
    publish(imported_version("digits"))

    response = developer.put(PRODUCTION, {"version": "1.0.0"})

    assert response.status_code == 403
    assert error_of(response)["details"] == {"permission": "publish"}


def test_a_list_of_aliases_costs_the_same_queries_however_long_it_is(
    owner: APIClient, django_assert_num_queries: Any
) -> None:
    publish(imported_version("digits"))
    for name in ("canary", "champion", "production"):
        owner.put(f"/api/models/digits/aliases/{name}", {"version": "1.0.0"})

    # the token, the model and its aliases, the count, the aliases, their moves
    with django_assert_num_queries(6):
        assert len(owner.get("/api/models/digits/aliases").json()["results"]) == 3
