from rest_framework.test import APIClient

from controlplane.fleet.domain import PlacementState
from controlplane.fleet.models import Placement, Pool, Server
from controlplane.registry.models import ModelVersion
from controlplane.registry.services import set_alias
from tests.support.models import ACTOR, declare_published, imported_version
from tests.support.rest import error_of

VERSION = "/api/models/digits/versions/1.0.0"


def serving() -> ModelVersion:
    version = imported_version("digits")
    declare_published(version)
    Placement.objects.create(server=Server.objects.get(), version=version, state=PlacementState.READY, proven=True)
    return version


def test_a_retirement_is_accepted_and_can_be_watched(owner: APIClient, pool: Pool) -> None:
    serving()

    response = owner.post(f"{VERSION}/retire")

    assert response.status_code == 202
    publication = response.json()
    assert (publication["kind"], publication["state"], publication["held_by"]) == ("retire", "queued", [])
    assert owner.get(response["Location"]).json() == publication
    assert owner.post(f"{VERSION}/retire").json() == publication
    crossing = owner.post(f"{VERSION}/publish")
    assert (crossing.status_code, error_of(crossing)["code"]) == (409, "publication.not_possible")


def test_a_version_that_is_needed_says_by_what(owner: APIClient, pool: Pool) -> None:
    version = serving()
    set_alias(ACTOR, model=version.model, name="production", version=version)

    response = owner.post(f"{VERSION}/retire")

    assert (response.status_code, error_of(response)["code"]) == (409, "version.in_use")
    assert error_of(response)["details"] == {"uses": ["alias production"]}


def test_what_cannot_be_restored_is_refused(owner: APIClient, pool: Pool) -> None:
    imported_version("digits")
    for path in (f"{VERSION}/restore", f"{VERSION}/retire"):
        response = owner.post(path)
        assert (response.status_code, error_of(response)["code"]) == (409, "publication.not_possible")
    unknown = owner.post(f"{VERSION}/retire", {"pool": "nothing"})
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "pool.not_found")


def test_a_developer_retires_and_restores_nothing(developer: APIClient, pool: Pool) -> None:
    serving()
    for what in ("retire", "restore"):
        response = developer.post(f"{VERSION}/{what}")
        assert (response.status_code, error_of(response)["details"]) == (403, {"permission": "publish"})
