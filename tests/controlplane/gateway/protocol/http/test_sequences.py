"""Sequences: ids that belong to one organisation, and one server for each of them."""

import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton_http

from controlplane.gateway.dataplane.route import Router
from controlplane.gateway.dataplane.sequences import SequenceIds
from controlplane.gateway.orders import Orders
from controlplane.wire.keys import generate_key, hash_key
from controlplane.wire.snapshot import KeyEntry, ServerEntry
from tests.support.gateway import PEPPER, Answer, Gateway, echo_model, key_entry


def _add(gateway: Gateway, header: dict[str, str], sequence: int | str, x: float, **flags: bool) -> Answer:
    body: dict[str, Any] = {
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [x]}],
        "parameters": {"sequence_id": sequence, **flags},
    }
    return gateway.request("POST", "/v2/models/sum/infer", json.dumps(body).encode(), header)


def _sum(answer: Answer) -> float:
    value: float = answer.json["outputs"][0]["data"][0]
    return value


@pytest.fixture
def other(gateway: Gateway) -> dict[str, str]:
    """The header of a key of another organisation."""
    parsed = generate_key("test")
    gateway.order(key_entry(parsed.key_id, KeyEntry(7777, hash_key(parsed.text, PEPPER), "other", "project")))
    return {"X-API-Key": parsed.text}


@pytest.mark.parametrize("sequence", [5, 2**64 - 1])
def test_organisations_cannot_meet_in_a_sequence(gateway: Gateway, other: dict[str, str], sequence: int) -> None:
    ours = gateway.new_key().header

    assert _sum(_add(gateway, ours, sequence, 1, sequence_start=True)) == 1
    assert _sum(_add(gateway, other, sequence, 100, sequence_start=True)) == 100
    assert _sum(_add(gateway, ours, sequence, 2)) == 3
    assert _sum(_add(gateway, other, sequence, 100)) == 200
    assert _sum(_add(gateway, gateway.new_key().header, sequence, 4, sequence_end=True)) == 7
    assert _sum(_add(gateway, other, sequence, 100, sequence_end=True)) == 300


def test_an_error_speaks_of_the_id_that_the_client_knows(gateway: Gateway) -> None:
    answer = _add(gateway, gateway.new_key().header, 4711, 1)

    assert answer.status == 400
    assert answer.json["error"].startswith("inference request for sequence 4711 to model 'sum' must specify the START")


def test_public_clients_send_sequences_in_both_forms(gateway: Gateway) -> None:
    header = gateway.new_key().header
    with triton_http.InferenceServerClient(gateway.http_address) as client:
        for binary in (True, False):
            tensor = triton_http.InferInput("x", [1, 1], "FP32")
            tensor.set_data_from_numpy(np.array([[3]], np.float32), binary_data=binary)
            sums = [
                client.infer("sum", [tensor], sequence_id=9, sequence_start=start, headers=dict(header)).as_numpy("y")[
                    0, 0
                ]
                for start in (True, False)
            ]
            assert sums == [3, 6]


def test_a_sequence_stays_on_its_server_and_others_spread() -> None:
    orders = Orders()
    for server_id in range(1, 5):
        orders.servers[server_id] = ServerEntry(server_id, "t", "main", "h:1", "h:2")
    orders.models["echo"] = echo_model(servers=(1, 2, 3, 4))
    router, ids = Router(orders), SequenceIds(b"pepper")
    route = router.resolve(KeyEntry(1, b"", "org", "project"), "echo", None)
    sequences = [ids.enter("org", number) for number in range(1, 401)]

    def places() -> list[int]:
        picked = [router.pick(route, (), sequence) for sequence in sequences]
        return [server.id for server in picked if server is not None]

    before = places()
    router.began(orders.servers[before[0]])
    assert places() == before
    assert all(before.count(server_id) > 60 for server_id in range(1, 5))

    del orders.servers[4]
    moved = [(old, new) for old, new in zip(before, places(), strict=True) if old != new]
    assert {old for old, _ in moved} == {4}
    assert len(moved) == before.count(4)
