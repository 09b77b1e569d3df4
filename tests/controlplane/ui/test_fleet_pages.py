"""Pools and servers in the admin."""

from __future__ import annotations

from django.test import Client

from controlplane.fleet.domain import ServerState
from controlplane.fleet.models import Pool, Server
from tests.controlplane.ui.conftest import Scene, page


def test_a_pool_and_its_server_are_registered(operator: Client) -> None:
    pool_fields = {"_step": "1", "slug": "gpu", "title": "GPUs", "repository": "/srv/gpu", "gpu": "on"}
    operator.post(page("fleet_pool", step="add"), pool_fields)
    pool = Pool.objects.get()
    assert (pool.slug, pool.gpu, pool.server_repository) == ("gpu", True, "/srv/gpu")
    fields = {"_step": "1", "pool": pool.pk, "name": "a", "http_address": "10.0.0.9:8000", "grpc_address": "h:8001"}
    operator.post(page("fleet_server", step="add"), fields)
    assert Server.objects.get().http_address == "10.0.0.9:8000"


def test_a_malformed_address_is_an_error_of_the_form(operator: Client, scene: Scene) -> None:
    fields = {"_step": "1", "pool": scene.pool.pk, "name": "b", "http_address": "http://x", "grpc_address": "h:8001"}
    response = operator.post(page("fleet_server", step="add"), fields)
    assert response.status_code == 400
    assert "must be host:port" in response.content.decode()
    assert "http://x" in response.content.decode()


def test_a_server_is_cordoned_and_opened_again(operator: Client, scene: Scene) -> None:
    for step, state, next_step in (
        ("cordon", ServerState.CORDONED, "uncordon"),
        ("uncordon", ServerState.ACTIVE, "cordon"),
    ):
        operator.post(page("fleet_server", scene.server.pk, step), {"_step": "1"})
        scene.server.refresh_from_db()
        assert scene.server.state == state
        text = operator.get(page("fleet_server", scene.server.pk)).content.decode()
        assert page("fleet_server", scene.server.pk, next_step) in text


def test_chosen_servers_are_cordoned(operator: Client, scene: Scene) -> None:
    operator.post(page("fleet_server"), {"action": "cordon_selected", "_selected_action": [scene.server.pk]})
    scene.server.refresh_from_db()
    assert scene.server.state == ServerState.CORDONED
