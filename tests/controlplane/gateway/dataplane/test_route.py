import time

import pytest

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.route import MISSING_S, Route, Router
from controlplane.gateway.orders import Orders
from controlplane.wire.snapshot import KeyEntry, ModelEntry, ServerEntry
from controlplane.wire.usage import Arm
from tests.support.gateway import echo_model

_KEY = KeyEntry(1, b"", "org", "project")


@pytest.fixture
def orders() -> Orders:
    orders = Orders()
    orders.models["echo"] = echo_model(servers=(1, 2))
    for server_id in (1, 2, 3):
        orders.servers[server_id] = ServerEntry(server_id, "t", "main", "h:1", "h:2")
    return orders


@pytest.fixture
def router(orders: Orders) -> Router:
    return Router(orders)


@pytest.mark.parametrize(
    ("name", "version", "number", "arm"),
    [
        ("echo", None, 1, Arm.STABLE),
        ("echo@next", None, 2, Arm.PINNED),
        ("echo@production", None, 1, Arm.STABLE),
        ("echo", "2", 2, Arm.PINNED),
        ("echo", "002", 2, Arm.PINNED),
    ],
)
def test_a_name_leads_to_one_version(router: Router, name: str, version: str | None, number: int, arm: Arm) -> None:
    for _ in range(2):
        route = router.resolve(_KEY, name, version)
        assert (route.version.number, route.arm) == (number, arm)


def _message(router: Router, key: KeyEntry, name: str, version: str | None = None) -> str:
    with pytest.raises(RefusedError) as refused:
        router.resolve(key, name, version)
    assert refused.value.http_status == 404
    return refused.value.message


def test_what_is_not_there_is_refused_in_tritons_words(router: Router) -> None:
    assert _message(router, _KEY, "none") == "Request for unknown model: 'none' is not found"
    assert _message(router, _KEY, "none", "3") == "Request for unknown model: 'none' is not found"
    assert _message(router, _KEY, "echo", "3") == "Request for unknown model: 'echo' version 3 is not found"
    assert _message(router, _KEY, "echo@none") == "Request for unknown model: 'echo@none' is not found"
    assert _message(router, _KEY, "echo@next", "2") == "Request for unknown model: 'echo@next' is not found"


def test_a_model_outside_the_allow_list_looks_unknown_also_when_others_use_it(router: Router) -> None:
    stranger = KeyEntry(2, b"", "org", "project", models=("other",))
    router.resolve(_KEY, "echo", None)

    for name, version in (("echo", None), ("echo", "9"), ("echo@next", None)):
        assert _message(router, stranger, name, version) == f"Request for unknown model: '{name}' is not found"


def test_a_moved_alias_is_followed_at_once(orders: Orders, router: Router) -> None:
    assert router.resolve(_KEY, "echo", None).version.number == 1

    orders.models["echo"] = echo_model(default_version=2)

    assert router.resolve(_KEY, "echo", None).version.number == 2


def test_a_model_without_a_default_says_so(orders: Orders, router: Router) -> None:
    orders.models["echo"] = ModelEntry(1, "echo")

    assert "has no default version" in _message(router, _KEY, "echo")


def test_the_least_busy_server_that_has_the_version_is_picked(orders: Orders, router: Router) -> None:
    route = router.resolve(_KEY, "echo", None)
    router.began(orders.servers[1])

    assert _picked(router, route) == 2
    router.began(orders.servers[2])
    router.ended(orders.servers[1])
    assert _picked(router, route) == 1


def test_cordoned_and_unreachable_servers_are_the_last_resort(orders: Orders, router: Router) -> None:
    route = router.resolve(_KEY, "echo", None)
    router.failed(orders.servers[1])
    assert _picked(router, route) == 2

    orders.servers[2] = ServerEntry(2, "t", "main", "h:1", "h:2", state="cordoned")
    assert _picked(router, route) == 1
    assert router.pick(route, tried=[1, 2]) is None


def test_an_ejected_server_is_tried_again_by_one_request_at_a_time(
    orders: Orders, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    route = router.resolve(_KEY, "echo", None)
    router.began(orders.servers[2])
    router.failed(orders.servers[1])
    assert _picked(router, route) == 2

    now += 0.6
    assert [_picked(router, route) for _ in range(3)] == [1, 2, 2]
    router.failed(orders.servers[1])
    now += 0.6
    assert _picked(router, route) == 2
    now += 0.6
    assert _picked(router, route) == 1


def test_a_server_that_lacks_a_version_is_passed_over_for_that_version_alone(
    orders: Orders, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    first, second = router.resolve(_KEY, "echo", "1"), router.resolve(_KEY, "echo", "2")
    router.missing(orders.servers[1], first)

    assert (_picked(router, first), _picked(router, second)) == (2, 1)
    now += MISSING_S + 1
    assert _picked(router, first) == 1


def test_a_server_that_answers_is_forgiven(orders: Orders, router: Router) -> None:
    router.failed(orders.servers[1])
    router.failed(orders.servers[1])
    assert router.unreachable == {1: 2}

    router.answered(orders.servers[1])

    assert router.unreachable == {}


def _picked(router: Router, route: Route) -> int:
    server = router.pick(route)
    assert server is not None
    return server.id
