from typing import Any

from rest_framework.test import APIClient

from controlplane.fleet.domain import PlacementState, PublicationStep, StepState
from controlplane.fleet.models import Placement, Pool, Publication, PublicationStepRun, Server
from controlplane.fleet.services import publish_version, register_pool, register_server
from tests.support.models import ACTOR, imported_version
from tests.support.rest import error_of

VERSION = "/api/models/digits/versions/1.0.0"


def test_a_version_says_where_it_lies_and_how_it_got_there(owner: APIClient, pool: Pool) -> None:
    version = imported_version("digits")
    publication = publish_version(ACTOR, version=version, pool=pool)
    PublicationStepRun.objects.create(
        publication=publication, step=PublicationStep.STAGE, attempt=1, state=StepState.DONE, detail="2 files"
    )
    Placement.objects.create(
        server=Server.objects.get(), version=version, state=PlacementState.FAILED, reason="out of memory"
    )

    shown = owner.get(VERSION).json()

    assert (shown["model"], shown["version"], shown["state"]) == ("digits", "1.0.0", "validated")
    assert [(p["server"], p["pool"], p["state"], p["reason"], p["proven"]) for p in shown["placements"]] == [
        ("t1", "default", "failed", "out of memory", False)
    ]
    assert [(p["id"], p["state"]) for p in shown["publications"]] == [(publication.pk, "queued")]
    step = shown["publications"][0]["steps"][0]
    assert (step["step"], step["state"], step["detail"], step["duration_s"]) == ("stage", "done", "2 files", None)
    assert [file["path"] for file in shown["files"]] == ["model.onnx"]
    assert shown["config"]
    assert shown["digest"] == version.digest


def test_a_version_goes_by_semver_number_and_v_number(owner: APIClient, pool: Pool) -> None:
    imported_version("digits")

    assert [owner.get(f"/api/models/digits/versions/{name}").json()["version"] for name in ("1.0.0", "1", "v1")] == [
        "1.0.0"
    ] * 3


def test_publishing_is_accepted_and_can_be_watched(owner: APIClient, pool: Pool) -> None:
    imported_version("digits")

    response = owner.post(f"{VERSION}/publish")

    assert response.status_code == 202
    publication = response.json()
    assert (publication["model"], publication["version"], publication["pool"]) == ("digits", "1.0.0", "default")
    assert (publication["state"], publication["steps"]) == ("queued", [])
    assert response["Location"] == f"/api/publications/{publication['id']}"
    assert owner.get(response["Location"]).json() == publication
    assert owner.post(f"{VERSION}/publish", {"pool": "default"}).json() == publication


def test_a_pool_is_chosen_by_name(owner: APIClient, pool: Pool) -> None:
    other = register_pool(ACTOR, slug="gpus", title="GPUs", repository="/srv/gpus", gpu=True)
    register_server(ACTOR, pool=other, name="g1", http_address="127.0.0.1:3", grpc_address="127.0.0.1:4")
    imported_version("digits")

    assert owner.post(f"{VERSION}/publish", {"pool": "gpus"}).json()["pool"] == "gpus"


def test_what_cannot_be_published_is_refused_with_the_reason(owner: APIClient, pool: Pool) -> None:
    imported_version("digits")
    register_pool(ACTOR, slug="empty", title="Empty", repository="/srv/empty")

    cases: list[tuple[str, Any, int, str]] = [
        ("/api/models/nothing/versions/1.0.0/publish", "default", 404, "model.not_found"),
        ("/api/models/digits/versions/9.9.9/publish", "default", 404, "version.not_found"),
        ("/api/models/digits/versions/99999999999999999999/publish", "default", 404, "version.not_found"),
        (f"{VERSION}/publish", "nothing", 404, "pool.not_found"),
        (f"{VERSION}/publish", "empty", 409, "pool.empty"),
        (f"{VERSION}/publish", ["default"], 400, "invalid_request"),
    ]
    for path, name, status, code in cases:
        response = owner.post(path, {"pool": name})
        assert (response.status_code, error_of(response)["code"]) == (status, code), path
    assert not Publication.objects.exists()


def test_a_developer_does_not_publish(developer: APIClient, pool: Pool) -> None:
    imported_version("digits")

    response = developer.post(f"{VERSION}/publish")

    assert response.status_code == 403
    assert error_of(response)["details"] == {"permission": "publish"}


def test_a_publication_is_cancelled_and_tried_again(owner: APIClient, pool: Pool) -> None:
    imported_version("digits")
    publication = owner.post(f"{VERSION}/publish").json()
    path = f"/api/publications/{publication['id']}"

    assert owner.post(f"{path}/cancel").json()["state"] == "cancelled"
    ended = owner.post(f"{path}/cancel")
    assert (ended.status_code, error_of(ended)["code"]) == (409, "publication.not_possible")
    assert owner.post(f"{path}/retry").json()["state"] == "queued"
    waiting = owner.post(f"{path}/retry")
    assert (waiting.status_code, error_of(waiting)["code"]) == (409, "publication.not_possible")


def test_unknown_publications_are_not_found(owner: APIClient) -> None:
    for path in ("/api/publications/7", "/api/publications/99999999999999999999999", "/api/publications/7/retry"):
        response = owner.post(path) if path.endswith("retry") else owner.get(path)
        assert (response.status_code, error_of(response)["code"]) == (404, "publication.not_found")


def test_a_version_costs_the_same_queries_wherever_it_lies(
    owner: APIClient, pool: Pool, django_assert_num_queries: Any
) -> None:
    version = imported_version("digits")
    for index in range(4):
        name = f"more-{index}"
        other = register_pool(ACTOR, slug=name, title=name, repository=f"/srv/{name}")
        server = register_server(ACTOR, pool=other, name=name, http_address="127.0.0.1:3", grpc_address="127.0.0.1:4")
        Placement.objects.create(server=server, version=version)
        publish_version(ACTOR, version=version, pool=other)
    owner.get(VERSION)

    # the token; the model, its aliases, the version; aliases (twice), approvals, parts, files, placements,
    # publications, their steps
    with django_assert_num_queries(12):
        shown = owner.get(VERSION).json()

    assert (len(shown["placements"]), len(shown["publications"])) == (4, 4)
