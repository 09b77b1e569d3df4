"""A process that takes publications to a step and has their worker killed there, for `test_crashes`.

It reads cases as JSON lines and answers each with one. The worker is a fork of it that runs the real steps; the step to
die at is wrapped from outside, so nothing in the product knows of this.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.db import connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from controlplane.fleet.domain import Health, PublicationKind, PublicationStep  # noqa: E402
from controlplane.fleet.models import Pool, Publication, Server  # noqa: E402
from controlplane.fleet.publishing import run_publication  # noqa: E402
from controlplane.fleet.publishing.steps import STEPS  # noqa: E402
from controlplane.fleet.services import (  # noqa: E402
    hand_out_publications,
    publish_version,
    restore_version,
    retire_version,
    retry_publication,
)
from controlplane.registry.models import ModelVersion  # noqa: E402
from tests.support.models import ACTOR, imported_version  # noqa: E402
from tests.support.triton import wait_until  # noqa: E402

ASK = {
    PublicationKind.PUBLISH: publish_version,
    PublicationKind.RETIRE: retire_version,
    PublicationKind.RESTORE: restore_version,
}


def prepared(kind: PublicationKind, slug: str) -> Publication:
    """A publication of that kind, asked for and not begun."""
    version, pool = imported_version(slug), Pool.objects.get()
    order = list(PublicationKind)
    for earlier in order[: order.index(kind)]:
        run_publication(ASK[earlier](ACTOR, version=version, pool=pool).pk)
        version.refresh_from_db()
    return ASK[kind](ACTOR, version=version, pool=pool)


def kill_worker(publication: Publication, step: PublicationStep, when: str) -> None:
    """Runs the publication in a process of its own, which is killed before or after the work of a step."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        work = STEPS[step]

        def die(context: Any) -> str:
            if when == "after":
                work(context)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("a killed process goes on")

        STEPS[step] = die
        try:
            run_publication(publication.pk)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the worker ended by itself: {os.waitstatus_to_exitcode(status)}"
    assert os.WTERMSIG(status) == signal.SIGKILL
    silent = timezone.now() - timedelta(minutes=1)
    Publication.objects.filter(pk=publication.pk).update(heartbeat_at=silent)


def run_killing(publication: Publication, step: PublicationStep, server_pid: int) -> None:
    """Runs the publication here; the Triton is killed as the step begins."""
    work = STEPS[step]

    def kill_first(context: Any) -> str:
        os.kill(server_pid, signal.SIGKILL)
        return work(context)

    STEPS[step] = kill_first
    try:
        run_publication(publication.pk)
    finally:
        STEPS[step] = work


def report(publication: Publication) -> dict[str, Any]:
    publication.refresh_from_db()
    version = ModelVersion.objects.get(pk=publication.version_id)
    return {
        "id": publication.pk,
        "state": publication.state,
        "error": publication.error,
        "version": version.state,
        "triton_name": version.triton_name,
        "routed": version.placements.filter(proven=True).exists(),
    }


def play(case: dict[str, Any]) -> dict[str, Any]:
    if case["do"] == "retry":
        live = Server.objects.filter(health=Health.LIVE)
        wait_until(live.exists, what="the controller sees the Triton", timeout_s=20)
        publication = retry_publication(ACTOR, publication=Publication.objects.get(pk=case["id"]))
        run_publication(publication.pk)
        return report(publication)
    publication = prepared(PublicationKind(case["kind"]), case["slug"])
    step = PublicationStep(case["step"]) if case.get("step") else None
    if case["do"] == "kill_server" and step is not None:
        run_killing(publication, step, case["pid"])
        return report(publication)
    if step is not None:
        kill_worker(publication, step, case["when"])
    if case["do"] == "finish":
        hand_out_publications()
        run_publication(publication.pk)
    return report(publication)


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(play(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
