"""Statistics and the repository index: what a key may know, added up and under public names."""

import json
from collections.abc import Callable

import httpx
import pytest
import tritonclient.http as triton_http

from controlplane.gateway.dataplane.statistics import add_up
from tests.support.gateway import Gateway, echo_model, model_entry, orders_for, server_entry
from tests.support.triton import TritonServer

_BODY = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}'


def test_a_models_statistics_have_one_entry_for_each_version(gateway: Gateway, echo_triton: TritonServer) -> None:
    header = gateway.new_key().header
    for version in (1, 2):
        gateway.request("POST", f"/v2/models/echo/versions/{version}/infer", _BODY, header)

    entries = gateway.request("GET", "/v2/models/echo/stats", None, header).json["model_stats"]

    assert [(entry["name"], entry["version"]) for entry in entries] == [("echo", "1"), ("echo", "2")]
    direct = httpx.get(f"{echo_triton.http_url}/v2/models/echo.v2/stats").json()["model_stats"][0]
    assert entries[1] | {"name": "echo.v2"} == direct
    [one] = gateway.request("GET", "/v2/models/echo/versions/2/stats", None, header).json["model_stats"]
    assert one == entries[1]
    [next_] = gateway.request("GET", "/v2/models/echo@next/stats", None, header).json["model_stats"]
    assert next_ == entries[1]


def test_statistics_add_up_over_the_servers_of_a_pool(
    start_gateway: Callable[..., Gateway], echo_triton: TritonServer
) -> None:
    twice = [server_entry(number, http=echo_triton.http_address, grpc=echo_triton.grpc_url) for number in (1, 2)]
    gone = server_entry(3, http="127.0.0.1:1", grpc="127.0.0.1:1")
    gateway = start_gateway(*twice, gone, model_entry(echo_model(servers=(1, 2, 3))))
    header = gateway.new_key().header

    [once] = httpx.get(f"{echo_triton.http_url}/v2/models/echo.v1/stats").json()["model_stats"]
    entry = gateway.request("GET", "/v2/models/echo/stats", None, header).json["model_stats"][0]

    assert entry["inference_count"] == 2 * once["inference_count"]
    assert entry["inference_stats"]["queue"]["ns"] == 2 * once["inference_stats"]["queue"]["ns"]
    assert entry["last_inference"] == once["last_inference"]
    assert [item["batch_size"] for item in entry["batch_stats"]] == [item["batch_size"] for item in once["batch_stats"]]


def test_without_a_server_there_are_no_statistics(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(server_entry(1, http="127.0.0.1:1", grpc="127.0.0.1:1"), model_entry(echo_model()))

    answer = gateway.request("GET", "/v2/models/echo/stats", None, gateway.new_key().header)

    assert (answer.status, answer.headers["X-Error-Code"]) == (503, "upstream.unreachable")


def test_lists_show_only_what_the_key_may_use(gateway: Gateway) -> None:
    key = gateway.new_key(models=("text", "ec*"))

    statistics = gateway.request("GET", "/v2/models/stats", None, key.header).json["model_stats"]
    index = gateway.request("POST", "/v2/repository/index", b"", key.header).json
    cards = gateway.request("GET", "/v1/models", None, key.header).json["models"]

    assert {entry["name"] for entry in statistics} == {"echo", "text"}
    assert index == [
        {"name": "echo", "version": "1", "state": "READY"},
        {"name": "echo", "version": "2", "state": "READY"},
        {"name": "text", "version": "1", "state": "READY"},
    ]
    assert [card["id"] for card in cards] == ["echo", "text"]
    hidden = gateway.request("GET", "/v2/models/slow/stats", None, key.header)
    assert hidden.json == {"error": "Request for unknown model: 'slow' is not found"}


def test_the_index_can_be_asked_for_what_is_ready_only(
    start_gateway: Callable[..., Gateway], echo_triton: TritonServer
) -> None:
    nowhere = model_entry(echo_model(slug="nowhere", number=99, servers=()))
    gateway = start_gateway(*orders_for(echo_triton), nowhere)
    header = gateway.new_key().header

    every = gateway.request("POST", "/v2/repository/index", b"{}", header).json
    ready = gateway.request("POST", "/v2/repository/index", b'{"ready":true}', header).json

    assert {entry["state"] for entry in every if entry["name"] == "nowhere"} == {"UNAVAILABLE"}
    assert "nowhere" not in {entry["name"] for entry in ready}
    assert gateway.request("POST", "/v2/repository/index", b"[1", header).status == 400
    assert gateway.request("GET", "/v2/repository/index", None, header).status == 405


@pytest.mark.parametrize("path", ["/v2/models/stats", "/v2/models/echo/stats"])
def test_statistics_have_a_scope_of_their_own(gateway: Gateway, path: str) -> None:
    without = gateway.request("GET", path, None, gateway.new_key(scopes=("infer", "metadata")).header)

    assert (without.status, without.headers["X-Error-Code"]) == (403, "key.scope")
    assert gateway.request("GET", path, None, gateway.new_key(scopes=("statistics",)).header).status == 200
    assert gateway.request("POST", path, b"", gateway.new_key().header).status == 405


def test_public_clients_read_both(gateway: Gateway) -> None:
    header = gateway.new_key().header
    with triton_http.InferenceServerClient(gateway.http_address) as client:
        assert client.get_inference_statistics("echo", "1", headers=header)["model_stats"][0]["name"] == "echo"
        assert client.get_inference_statistics(headers=header)["model_stats"]
        assert client.get_model_repository_index(headers=header)


def test_numbers_add_up_at_every_depth() -> None:
    one = {
        "version": "1",
        "last_inference": 5,
        "inference_stats": {"queue": {"count": 1, "ns": 10}},
        "batch_stats": [{"batch_size": 1, "compute_infer": {"count": 1, "ns": 2}}],
    }
    other = {
        "version": "1",
        "last_inference": 3,
        "inference_stats": {"queue": {"count": 2, "ns": 5}, "fail": {"count": 1, "ns": 1}},
        "batch_stats": [
            {"batch_size": 4, "compute_infer": {"count": 1, "ns": 9}},
            {"batch_size": 1, "compute_infer": {"count": 1, "ns": 1}},
        ],
    }
    before = json.dumps([one, other])

    assert add_up([one, other]) == {
        "version": "1",
        "last_inference": 5,
        "inference_stats": {"queue": {"count": 3, "ns": 15}, "fail": {"count": 1, "ns": 1}},
        "batch_stats": [
            {"batch_size": 1, "compute_infer": {"count": 2, "ns": 3}},
            {"batch_size": 4, "compute_infer": {"count": 1, "ns": 9}},
        ],
    }
    assert json.dumps([one, other]) == before
