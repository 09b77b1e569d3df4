"""The admin in a real Chromium: it needs no other host, follows by itself, and fits a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from controlplane.access.models import ApiKey
from controlplane.access.services import ensure_defaults
from controlplane.fleet.domain import PublicationState, PublicationStep, StepState
from controlplane.fleet.models import Publication, PublicationStepRun
from controlplane.fleet.services import publish_version
from tests.controlplane.ui.chromium import Tab, chromium, new_tab
from tests.controlplane.ui.conftest import BOOT, Scene, page
from tests.controlplane.ui.test_escaping import hostile

__all__ = ["hostile"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenTab = Callable[..., Tab]
TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    profile: Path = tmp_path_factory.mktemp("chromium")
    with chromium(profile) as address:
        yield address


@pytest.fixture
def open_tab(devtools: str, live_server: LiveServer, owner: Client) -> Iterator[OpenTab]:
    """Opens tabs in which an owner has signed in."""
    with ExitStack() as tabs:

        def open_tab(**options: Any) -> Tab:
            tab = tabs.enter_context(new_tab(devtools, **options))
            tab.set_cookie(live_server.url, "sessionid", owner.cookies["sessionid"].value)
            return tab

        yield open_tab


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_pages_fit_complain_of_nothing_and_ask_no_other_host(
    open_tab: OpenTab, live_server: LiveServer, scene: Scene, width: int, dark: bool
) -> None:
    publication = publish_version(BOOT, version=scene.published, pool=scene.pool)
    tab = open_tab(width=width, dark=dark)
    for address in (
        "/admin/",
        page("registry_registeredmodel"),
        page("registry_registeredmodel", scene.model.pk),
        page("registry_modelversion"),
        page("registry_modelversion", scene.published.pk),
        page("registry_modelversion", step="add"),
        page("fleet_publication", publication.pk),
        page("fleet_server", scene.server.pk),
        page("access_apikey", step="add"),
        page("audit_auditevent"),
    ):
        tab.goto(live_server.url + address)
        assert tab.run("document.documentElement.scrollWidth") <= width, address
        assert tab.run("document.documentElement.classList.contains('dark')") is dark
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith((live_server.url, "data:"))] == []


def test_a_publication_is_followed_without_a_reload_and_its_end_brings_new_buttons(
    open_tab: OpenTab, live_server: LiveServer, scene: Scene
) -> None:
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    tab = open_tab()
    tab.goto(live_server.url + page("registry_modelversion", scene.validated.pk))
    tab.run("window.stayed = true")
    Publication.objects.update(state=PublicationState.RUNNING, attempt=1)
    run = PublicationStepRun.objects.create(
        publication=publication, step=PublicationStep.STAGE, attempt=1, state=StepState.RUNNING
    )
    tab.wait_for("document.querySelector('.cp-step-running')?.innerText.includes('Stage files')")
    run.state, run.detail, run.finished_at = StepState.DONE, "4 files staged", timezone.now()
    run.save()
    tab.wait_for("document.querySelector('.cp-step-done')?.innerText.includes('4 files staged')")
    assert tab.run("window.stayed") is True
    Publication.objects.update(state=PublicationState.FAILED, error="disk full", finished_at=timezone.now())
    tab.wait_for("!window.stayed && [...document.querySelectorAll('a')].some(a => a.innerText.includes('Retry'))")
    assert tab.run("document.querySelector('.cp-pipeline').innerText.includes('disk full')")


def test_a_key_is_issued_and_copied_by_keyboard_alone(open_tab: OpenTab, live_server: LiveServer) -> None:
    ensure_defaults(BOOT)
    tab = open_tab()
    tab.goto(live_server.url + page("access_apikey", step="add"))
    tab.run("document.querySelector('#id_label').focus()")
    tab.type("laptop")
    tab.press(*ENTER)
    tab.wait_for("document.body.innerText.includes('Copy it now')")
    assert ApiKey.objects.get().label == "laptop"
    for _ in range(60):
        tab.press(*TAB)
        if tab.run("document.activeElement.matches('[data-copy]')"):
            break
    tab.press(*ENTER)
    tab.wait_for("document.activeElement.innerText.includes('Copied')")


def test_a_list_is_filtered_by_keyboard_alone(open_tab: OpenTab, live_server: LiveServer, scene: Scene) -> None:
    tab = open_tab()
    tab.goto(live_server.url + page("registry_modelversion"))
    hidden = "!document.querySelector('#changelist-filter').checkVisibility()"
    assert tab.run(hidden)
    for _ in range(60):
        tab.press(*TAB)
        if tab.run("document.activeElement.innerText.includes('Filters')"):
            break
    tab.press(*ENTER)
    tab.wait_for(f"!({hidden})")


def test_hostile_text_does_nothing(open_tab: OpenTab, live_server: LiveServer, hostile: Scene) -> None:
    tab = open_tab()
    for address in (
        page("registry_registeredmodel", hostile.model.pk),
        page("registry_registeredmodel"),
        page("registry_modelversion", hostile.validated.pk),
        "/admin/",
    ):
        tab.goto(live_server.url + address)
    assert tab.complaints == []
