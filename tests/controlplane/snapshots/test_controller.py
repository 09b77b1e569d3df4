"""Controllers as they run: one leads, another takes over, changes reach the snapshot at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controlplane.access.services import ensure_defaults, issue_api_key
from controlplane.snapshots.controller import Controller
from controlplane.snapshots.models import LeaderLease
from controlplane.snapshots.selectors import head_revision
from tests.support.models import ACTOR
from tests.support.triton import wait_until

# Threads with connections of their own need rows that are really committed.
pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def running(controller: Controller) -> Iterator[Controller]:
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        yield controller
    finally:
        controller.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()


def issue() -> None:
    project, plan = ensure_defaults(ACTOR)
    issue_api_key(ACTOR, project=project, plan=plan, label="ci")


def test_a_change_reaches_the_snapshot_within_a_second() -> None:
    with running(Controller()) as controller:
        wait_until(lambda: controller.leads, what="it leads", timeout_s=5)
        issue()
        wait_until(lambda: head_revision() == 1, what="the key is in the snapshot", timeout_s=1)


def test_one_of_two_leads_and_the_other_takes_over_at_once_when_it_stops() -> None:
    first, second = Controller(), Controller()
    with running(second) as follower:
        with running(first):
            wait_until(lambda: first.leads or second.leads, what="one leads", timeout_s=5)
            leader = first if first.leads else second
            assert not (first.leads and second.leads)
            if leader is second:
                return
        wait_until(lambda: follower.leads, what="the follower leads", timeout_s=4)
        assert LeaderLease.objects.get().epoch == 2
        issue()
        wait_until(lambda: head_revision() == 1, what="it writes", timeout_s=1)
