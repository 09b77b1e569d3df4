from typing import Any

import pytest
from rest_framework.test import APIClient

from controlplane.registry.domain import VersionState
from controlplane.registry.models import ModelVersion
from controlplane.registry.selectors import get_model
from controlplane.registry.services import set_alias
from tests.support.models import ACTOR, imported_version, registered_model
from tests.support.rest import error_of


def publish(version: ModelVersion) -> ModelVersion:
    """Published as far as the registry is concerned; the way there is the fleet's and tested there."""
    ModelVersion.objects.filter(pk=version.pk).update(state=VersionState.PUBLISHED)
    version.refresh_from_db()
    return version


def test_a_model_is_registered_and_read_back_in_the_words_of_users(owner: APIClient) -> None:
    fields = {"title": "Digits", "task": "image-classification", "framework": "onnx", "tags": ["demo"]}

    created = owner.post("/api/models", {"slug": "digits", **fields})

    assert created.status_code == 201
    model = owner.get("/api/models/digits").json()
    assert model == created.json()
    assert (model["model_id"], model["slug"], model["name"], model["title"]) == ("digits", "digits", "Digits", "Digits")
    assert (model["task"], model["framework"], model["tags"]) == ("image-classification", "onnx", ["demo"])
    assert (model["default_alias"], model["default_version"], model["aliases"]) == ("production", None, {})
    assert (model["versions"], model["inputs"], model["outputs"]) == ([], [], [])


def test_a_model_shows_its_versions_and_the_tensors_of_its_default_version(owner: APIClient) -> None:
    version = publish(imported_version("digits", "1.0.0"))
    imported_version("digits", "1.1.0", factor=3.0)
    set_alias(ACTOR, model=get_model("digits"), name="production", version=version)

    model = owner.get("/api/models/digits").json()

    assert [(v["version"], v["number"], v["default"], v["aliases"], v["deprecated"]) for v in model["versions"]] == [
        ("1.1.0", 2, False, [], False),
        ("1.0.0", 1, True, ["production"], False),
    ]
    assert model["aliases"] == {"production": "1.0.0"}
    assert (model["default_version"], model["versions_count"]) == ("1.0.0", 2)
    assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in model["inputs"]] == [
        ("x", "FP32", [-1, 4])
    ]
    assert [tensor["name"] for tensor in model["outputs"]] == ["y"]


def test_only_what_is_sent_changes(owner: APIClient) -> None:
    owner.post("/api/models", {"slug": "digits", "title": "Digits", "task": "vision"})

    changed = owner.patch("/api/models/digits", {"description": "<script>alert(1)</script>"})

    assert changed.status_code == 200
    assert changed.json()["description"] == "<script>alert(1)</script>"
    assert (changed.json()["title"], changed.json()["task"]) == ("Digits", "vision")


def test_models_are_found_by_text_and_by_task(owner: APIClient) -> None:
    owner.post("/api/models", {"slug": "digits", "title": "Handwriting", "task": "vision"})
    owner.post("/api/models", {"slug": "ranker", "task": "ranking"})

    def names(query: dict[str, str]) -> list[str]:
        return [model["slug"] for model in owner.get("/api/models", query).json()["results"]]

    assert names({}) == ["digits", "ranker"]
    assert names({"search": "handw"}) == ["digits"]
    assert names({"task": "ranking"}) == ["ranker"]
    assert names({"search": "digits", "task": "ranking"}) == []


def test_lists_come_in_pages(owner: APIClient) -> None:
    for index in range(3):
        registered_model(f"m{index}")

    page = owner.get("/api/models", {"page_size": 2}).json()

    assert (page["count"], len(page["results"])) == (3, 2)
    assert [model["slug"] for model in owner.get(page["next"]).json()["results"]] == ["m2"]
    assert owner.get("/api/models", {"page": 9}).status_code == 404


def test_a_list_costs_the_same_queries_however_long_it_is(owner: APIClient, django_assert_num_queries: Any) -> None:
    owner.get("/api/models")
    for index in range(4):
        version = publish(imported_version(f"m{index}"))
        set_alias(ACTOR, model=version.model, name="production", version=version)

    # the token, the count, the models, their aliases
    with django_assert_num_queries(4):
        assert len(owner.get("/api/models").json()["results"]) == 4


def test_unknown_models_are_not_found(owner: APIClient) -> None:
    for method, path in [
        ("get", "/api/models/nothing"),
        ("patch", "/api/models/nothing"),
        ("get", "/api/models/nothing/versions"),
        ("get", "/api/models/nothing/aliases"),
        ("get", "/api/models/%3Cscript%3E"),
        ("get", "/api/models/" + "n" * 199),
    ]:
        response = getattr(owner, method)(path)
        assert response.status_code == 404, path
        assert error_of(response)["code"] == "model.not_found"


@pytest.mark.parametrize("slug", ["Digits", "digits.v3", "-digits", "a@b", "a/b", "ü"])
def test_a_bad_slug_is_refused_with_the_rule(owner: APIClient, slug: str) -> None:
    response = owner.post("/api/models", {"slug": slug})

    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "name.invalid"
    assert slug in error["message"]


def test_a_name_is_taken_once(owner: APIClient) -> None:
    registered_model("digits")

    response = owner.post("/api/models", {"slug": "digits"})

    assert response.status_code == 409
    assert error_of(response)["code"] == "name.taken"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "slug"),
        ({"slug": 3.5, "timeout_s": "soon"}, "timeout_s"),
        ({"slug": "digits", "timeout_s": -1}, "timeout_s"),
        ({"slug": "digits", "tags": "demo"}, "tags"),
        ({"slug": "digits", "titel": "Digits"}, "titel"),
        ({"slug": "digits", "title": "a\x00b"}, "title"),
        ({"slug": "digits", "title": "x" * 201}, "title"),
        ([], "non_field_errors"),
    ],
)
def test_a_refused_body_names_the_field(owner: APIClient, body: Any, field: str) -> None:
    response = owner.post("/api/models", body)

    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "invalid_request"
    assert field in error["details"]


def test_a_misspelt_query_parameter_is_not_ignored(owner: APIClient) -> None:
    response = owner.get("/api/models", {"serach": "digits"})

    assert response.status_code == 400
    assert "serach" in error_of(response)["details"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("post", "/api/models"), ("patch", "/api/models/digits"), ("put", "/api/models/digits/aliases/a")],
)
def test_a_viewer_reads_and_does_not_write(viewer: APIClient, method: str, path: str) -> None:
    publish(imported_version("digits"))
    assert viewer.get("/api/models/digits").status_code == 200

    response = getattr(viewer, method)(
        path, {"slug": "x"} if method == "post" else {"version": "1"} if method == "put" else {}
    )

    assert response.status_code == 403
    assert error_of(response)["code"] == "permission.missing"
