from typing import Any

import pytest
from rest_framework.test import APIClient

from controlplane.fleet.models import Pool
from controlplane.fleet.services import register_pool, register_server
from tests.support.models import ACTOR
from tests.support.rest import error_of


def test_a_pool_is_registered_and_read_back(owner: APIClient) -> None:
    created = owner.post("/api/pools", {"slug": "gpus", "repository": "/srv/models", "gpu": True})

    assert created.status_code == 201
    pool = created.json()
    assert owner.get("/api/pools/gpus").json() == pool
    assert (pool["title"], pool["server_repository"], pool["gpu"]) == ("gpus", "/srv/models", True)
    assert pool["servers"] == []


def test_a_pool_names_its_servers(owner: APIClient, pool: Pool) -> None:
    assert owner.get("/api/pools/default").json()["servers"] == ["t1"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"slug": "gpus"}, "invalid_request"),
        ({"slug": "gpus", "repository": "/srv", "gpu": "perhaps"}, "invalid_request"),
        ({"slug": "gpus", "repository": "models"}, "pool.invalid_repository"),
        ({"slug": "GPU pool", "repository": "/srv"}, "server.invalid"),
        ({"slug": "default", "repository": "/srv"}, "pool.exists"),
    ],
)
def test_a_refused_pool_is_not_made(owner: APIClient, pool: Pool, body: Any, code: str) -> None:
    response = owner.post("/api/pools", body)

    assert response.status_code in {400, 409}
    assert error_of(response)["code"] == code
    assert Pool.objects.count() == 1


def test_an_unknown_pool_is_not_found(owner: APIClient) -> None:
    response = owner.get("/api/pools/nothing")

    assert (response.status_code, error_of(response)["code"]) == (404, "pool.not_found")


def test_a_developer_does_not_change_the_fleet(developer: APIClient) -> None:
    response = developer.post("/api/pools", {"slug": "gpus", "repository": "/srv"})

    assert response.status_code == 403
    assert error_of(response)["details"] == {"permission": "manage_fleet"}


def test_a_list_costs_the_same_queries_however_long_it_is(owner: APIClient, django_assert_num_queries: Any) -> None:
    owner.get("/api/pools")
    for index in range(4):
        pool = register_pool(ACTOR, slug=f"p{index}", title="P", repository="/srv")
        register_server(ACTOR, pool=pool, name=f"s{index}", http_address="127.0.0.1:1", grpc_address="127.0.0.1:2")

    # the token, the count, the pools, their servers
    with django_assert_num_queries(4):
        assert len(owner.get("/api/pools").json()["results"]) == 4
