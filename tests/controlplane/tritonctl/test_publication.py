"""`tritonctl publish` where nothing publishes: there is no worker. The whole way is a test of the flows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.triton import wait_until
from tests.support.web import Web


@contextmanager
def meanwhile(web: Web, name: str, act: Callable[[int], object]) -> Iterator[None]:
    """Does something with the publication of a version as soon as there is one."""

    def publications() -> list[dict[str, int]]:
        version = web.call("GET", f"/api/models/{name}/versions/1.0.0").json()
        return cast(list[dict[str, int]], version["publications"])

    def run() -> None:
        wait_until(lambda: bool(publications()), what="it is published", timeout_s=30)
        act(publications()[0]["id"])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_publication_is_asked_for(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    publication = tritonctl("publish", f"{name}@1.0.0", "--json").json

    assert (publication["model"], publication["version"], publication["pool"]) == (name, "1.0.0", "default")
    assert (publication["state"], publication["steps"]) == ("queued", [])
    text = tritonctl("publish", f"{name}@1.0.0", "--pool", "default").stdout
    assert f"Publication {publication['id']} of {name}@1.0.0 is queued" in text


def test_waiting_ends_and_says_that_it_goes_on(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    error = tritonctl("publish", f"{name}@1.0.0", "--wait", "--timeout", "0.5", "--json").error

    assert error["code"] == "publication.timeout"
    assert "still queued" in error["message"]
    assert "worker" in error["message"]


def test_a_publication_that_is_cancelled_meanwhile_is_a_failure(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    with meanwhile(web, name, lambda number: web.call("POST", f"/api/publications/{number}/cancel")):
        outcome = tritonctl("publish", f"{name}@1.0.0", "--wait", "--timeout", "30")

    assert outcome.status == 1
    assert f"{name}@1.0.0 was not published: it was cancelled (publication.cancelled)" in outcome.stderr


def test_a_publication_that_fails_shows_its_steps_and_the_reason(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    with meanwhile(web, name, web.run_publication):
        outcome = tritonctl("publish", f"{name}@1.0.0", "--wait", "--timeout", "60")

    assert outcome.status == 1
    lines = outcome.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["done", "done", "done", "failed"]
    assert "Stage files beside the repository" in lines[0]
    assert "Load it on each server" in lines[3]
    assert "t1" in lines[3]
    assert f"{name}@1.0.0 was not published: " in outcome.stderr
    assert "(publication.failed)" in outcome.stderr


def test_a_publication_that_fails_is_an_error_for_programs(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    with meanwhile(web, name, web.run_publication):
        outcome = tritonctl("publish", f"{name}@1.0.0", "--wait", "--timeout", "60", "--json")

    assert (outcome.stdout, outcome.error["code"]) == ("", "publication.failed")
    publication = web.call("GET", f"/api/publications/{outcome.error['details']['publication_id']}").json()
    assert publication["error"] in outcome.error["message"]


def test_what_cannot_be_published_is_said(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    for target, pool, code in [
        ("nothing@1.0.0", "default", "model.not_found"),
        (f"{name}@9.9.9", "default", "version.not_found"),
        (f"{name}@1.0.0", "nothing", "pool.not_found"),
    ]:
        error = tritonctl("publish", target, "--pool", pool, "--wait", "--json").error
        assert error["code"] == code


def test_a_viewer_does_not_publish(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()
    viewer = {"CONTROL_URL": web.url, "ADMIN_TOKEN": web.tokens["viewer"]}

    error = tritonctl("publish", f"{name}@1.0.0", "--json", environment=viewer).error

    assert (error["code"], error["details"]) == ("permission.missing", {"permission": "publish"})
