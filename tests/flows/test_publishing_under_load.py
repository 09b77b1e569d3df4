"""Publishing, moving aliases and retiring beside a version that is in use: its users notice nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.models import infer_body, scaling_graph
from tests.support.stack import Stack
from tests.support.triton import wait_until

CLIENTS = 4
PUBLISH_TIMEOUT_S = 60


@dataclass
class Load:
    """What clients of one model met."""

    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def failures(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "200"}


@contextmanager
def constant_load(stack: Stack, model: str) -> Iterator[Load]:
    """Clients that ask for a model without a pause, each on a connection of its own."""
    load, stop = Load(), threading.Event()
    url = f"{stack.values['GATEWAY_URL']}/v2/models/{model}/infer"
    headers = {"Authorization": f"Bearer {stack.values['API_KEY']}"}

    def ask() -> None:
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
            while not stop.is_set():
                try:
                    answer = client.post(url, json=infer_body())
                    wrong = answer.is_success and answer.json()["outputs"][0]["data"][1] != 2.0
                    outcome = "wrong answer" if wrong else str(answer.status_code)
                except httpx.HTTPError as error:
                    outcome = type(error).__name__
                load.outcomes[outcome] += 1

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def add_version(stack: Stack, model: str, semver: str, factor: float) -> str:
    files = {"file": ("model.onnx", scaling_graph(factor))}
    answer = stack.control("POST", f"/api/models/{model}/versions", data={"semver": semver}, files=files)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return f"/api/models/{model}/versions/{semver}"


def do(stack: Stack, version: str, what: str) -> None:
    """Asks for something to be done with a version and waits until it is."""
    asked = stack.control("POST", f"{version}/{what}")
    assert asked.status_code == httpx.codes.ACCEPTED, asked.text
    place = asked.headers["Location"]
    wait_until(
        lambda: stack.control("GET", place).json()["state"] not in {"queued", "running"},
        what=f"{version} {what}",
        timeout_s=PUBLISH_TIMEOUT_S,
    )
    ended = stack.control("GET", place).json()
    assert (ended["state"], ended["error"]) == ("succeeded", "")


def point(stack: Stack, model: str, alias: str, semver: str) -> None:
    answer = stack.control("PUT", f"/api/models/{model}/aliases/{alias}", json={"version": semver})
    assert answer.is_success, answer.text


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_no_request_fails_while_other_versions_come_and_go(stack: Stack, rounds: int) -> None:
    model = f"busy-{rounds}"
    stack.control("POST", "/api/models", json={"slug": model})
    do(stack, add_version(stack, model, "1.0.0", 2.0), "publish")
    point(stack, model, "production", "1.0.0")
    wait_until(lambda: stack.infer(model, infer_body()).is_success, what="the first version answers", timeout_s=30)

    with constant_load(stack, model) as load:
        for number in range(1, rounds + 1):
            semver = f"2.0.{number}"
            version = add_version(stack, model, semver, 3.0)
            do(stack, version, "publish")
            point(stack, model, "next", semver)
            wait_until(
                lambda: stack.infer(f"{model}%40next", infer_body()).is_success, what="the alias answers", timeout_s=30
            )
            point(stack, model, "next", "1.0.0")
            do(stack, version, "retire")
        before = load.outcomes.total()
        wait_until(lambda: load.outcomes.total() > before + 100, what="requests after the last one", timeout_s=30)

    assert load.failures == {}
    assert load.outcomes["200"] > 100 * rounds
