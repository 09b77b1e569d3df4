from typing import Any

import pytest
from rest_framework.test import APIClient

from controlplane.fleet.domain import PlacementState
from controlplane.fleet.models import Placement, Pool, Server
from controlplane.fleet.services import register_server
from tests.support.models import ACTOR, imported_version
from tests.support.rest import error_of

SERVER = {"name": "t2", "pool": "default", "http_address": "10.0.0.2:8000", "grpc_address": "10.0.0.2:8001"}


def test_a_server_is_registered_and_read_back(owner: APIClient, pool: Pool) -> None:
    created = owner.post("/api/servers", {**SERVER, "control_secret": "triton_control"})

    assert created.status_code == 201
    server = created.json()
    assert owner.get("/api/servers/t2").json() == server
    assert (server["pool"], server["http_address"], server["control_secret"]) == (
        "default",
        "10.0.0.2:8000",
        "triton_control",
    )
    assert (server["state"], server["health"], server["seen_at"], server["placements"]) == (
        "active",
        "unknown",
        None,
        [],
    )


def test_a_server_shows_the_versions_on_it(owner: APIClient, pool: Pool) -> None:
    version = imported_version("digits")
    Placement.objects.create(server=Server.objects.get(), version=version, state=PlacementState.READY, proven=True)

    placements = owner.get("/api/servers/t1").json()["placements"]

    assert [(p["model"], p["version"], p["number"], p["state"], p["proven"]) for p in placements] == [
        ("digits", "1.0.0", 1, "ready", True)
    ]


def test_registering_a_known_server_moves_it(owner: APIClient, pool: Pool) -> None:
    owner.post("/api/servers", SERVER)

    owner.post("/api/servers", {**SERVER, "http_address": "10.0.0.3:8000"})

    assert owner.get("/api/servers/t2").json()["http_address"] == "10.0.0.3:8000"
    assert Server.objects.count() == 2


def test_a_server_is_cordoned_and_opened_again(owner: APIClient, pool: Pool) -> None:
    assert owner.post("/api/servers/t1/cordon").json()["state"] == "cordoned"
    assert [server["name"] for server in owner.get("/api/servers", {"state": "cordoned"}).json()["results"]] == ["t1"]
    assert owner.post("/api/servers/t1/uncordon").json()["state"] == "active"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"http_address": "http://10.0.0.2:8000/"}, 400, "server.invalid"),
        ({"grpc_address": "10.0.0.2"}, 400, "server.invalid"),
        ({"control_secret": "../secret_key"}, 400, "server.invalid"),
        ({"name": "T 2"}, 400, "server.invalid"),
        ({"http_address": None}, 400, "invalid_request"),
        ({"adress": "x"}, 400, "invalid_request"),
        ({"pool": "nothing"}, 404, "pool.not_found"),
    ],
)
def test_a_refused_server_is_not_made(
    owner: APIClient, pool: Pool, change: dict[str, Any], status: int, code: str
) -> None:
    response = owner.post("/api/servers", {**SERVER, **change})

    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert Server.objects.count() == 1


def test_an_unknown_server_is_not_found(owner: APIClient) -> None:
    for response in (owner.get("/api/servers/nothing"), owner.post("/api/servers/nothing/cordon")):
        assert (response.status_code, error_of(response)["code"]) == (404, "server.not_found")


def test_a_developer_does_not_cordon(developer: APIClient, pool: Pool) -> None:
    assert developer.get("/api/servers/t1").status_code == 200

    response = developer.post("/api/servers/t1/cordon")

    assert response.status_code == 403
    assert error_of(response)["code"] == "permission.missing"


def test_a_list_costs_the_same_queries_however_long_it_is(
    owner: APIClient, pool: Pool, django_assert_num_queries: Any
) -> None:
    owner.get("/api/servers")
    for index in range(4):
        register_server(ACTOR, pool=pool, name=f"s{index}", http_address="127.0.0.1:1", grpc_address="127.0.0.1:2")

    # the token, the count, the servers with their pools
    with django_assert_num_queries(3):
        assert len(owner.get("/api/servers").json()["results"]) == 5
