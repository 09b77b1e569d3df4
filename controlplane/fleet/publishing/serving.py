"""Steps that bring what lies in the repository into service: load, see it ready, prove it, route to it."""

from __future__ import annotations

import time

from django.db import transaction

from controlplane.audit.services import record, touch
from controlplane.fleet.domain import PlacementState
from controlplane.fleet.errors import StepFailedError, TritonRefusedError
from controlplane.fleet.models import Placement, Publication, Server
from controlplane.fleet.publishing.context import POLL_S, StepContext, note
from controlplane.fleet.triton import TritonClient, clean_reason, free_memory_bytes
from controlplane.registry.domain import VersionState
from controlplane.registry.importing import samples_of
from controlplane.registry.services import move_version
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.golden import compare, infer_request

READY_TIMEOUT_S = 120.0
SILENCE_TIMEOUT_S = 10.0
"""A server that does not even live for so long will not become ready; one that restarts is back earlier."""


def load_on_servers(context: StepContext) -> str:
    """Loads the version on each server that has the memory for it."""
    _guard_memory(context)
    for server in context.servers():
        context.checkpoint()
        with TritonClient(server) as triton:
            try:
                triton.load(context.triton_name)
            except TritonRefusedError as error:
                note(server, context.publication, PlacementState.FAILED, error.message)
                raise
    return ", ".join(server.name for server in context.servers())


def wait_until_ready(context: StepContext) -> str:
    """Waits until exactly this version takes requests on each server; the answer to the load call proves nothing."""
    started = time.monotonic()
    for server in context.servers():
        with TritonClient(server) as triton:
            _wait_until_ready(context, server, triton, started)
        note(server, context.publication, PlacementState.READY)
    return f"ready after {time.monotonic() - started:.2f} s"


def _wait_until_ready(context: StepContext, server: Server, triton: TritonClient, started: float) -> None:
    lived = time.monotonic()
    while not triton.is_ready(context.triton_name, context.publication.version.number):
        context.checkpoint()
        now = time.monotonic()
        if triton.is_live():
            lived = now
        if now - lived > SILENCE_TIMEOUT_S:
            raise StepFailedError(f"{server.name} does not answer any more. Start it and retry.")
        if now - started > READY_TIMEOUT_S:
            raise StepFailedError(f"Not ready on {server.name} after {READY_TIMEOUT_S:.0f} s. See its log.")
        time.sleep(POLL_S)


def prove_by_golden_requests(context: StepContext) -> str:
    """Sends every golden request to every server and compares the answers within tolerance."""
    version, samples = context.publication.version, samples_of(context.publication.version)
    for server in context.servers():
        with TritonClient(server) as triton:
            for index, sample in enumerate(samples, start=1):
                context.checkpoint()
                answer = triton.infer(context.triton_name, version.number, infer_request(sample))
                if findings := compare(sample.outputs, answer.get("outputs", []), sample.tolerance):
                    text = clean_reason("; ".join(finding.message for finding in findings))
                    raise StepFailedError(f"Golden request {index} on {server.name}: {text}")
    return f"{len(samples)} golden requests" if samples else "no golden sample: only loading is proven"


@transaction.atomic
def open_to_requests(context: StepContext) -> str:
    """Lets the gateways route to the version; from here on it is published."""
    publication, version = context.publication, context.publication.version
    names = []
    for server in context.servers():
        Placement.objects.filter(server=server, version=version).update(proven=True)
        names.append(server.name)
    # It lives again: the attic must not forget it as a retired one.
    Publication.objects.filter(version=version, pool=publication.pool).update(attic_until=None)
    version.refresh_from_db()
    if version.state != VersionState.PUBLISHED:
        move_version(version, VersionState.PUBLISHED)
        record(context.actor, action="fleet.version_published", target=version, after={"servers": names})
    touch("model", [version.model.slug])
    return ", ".join(names)


def _guard_memory(context: StepContext) -> None:
    """Refuses a version that a server has not the memory for; where nothing is known of that, leaves a warning.

    Raises:
        StepFailedError: a server has too little; the message has the numbers.
    """
    version = context.publication.version
    needed = version.memory_bytes or version.size_bytes
    unknown = []
    for server in context.servers():
        free = free_memory_bytes(server, gpu=context.publication.pool.gpu)
        if free is None:
            unknown.append(server.name)
        elif needed > free and not _has_it(server, context):
            raise StepFailedError(
                f"{version} needs {needed:,} bytes once loaded, and {server.name} has {free:,} left. Retire a version "
                "there, or publish into another pool.",
                code="publication.too_little_memory",
            )
    context.publication.findings = [_memory_unknown(name).to_dict() for name in unknown]
    context.publication.save(update_fields=["findings"])


def _has_it(server: Server, context: StepContext) -> bool:
    with TritonClient(server) as triton:
        return triton.is_ready(context.triton_name, context.publication.version.number)


def _memory_unknown(server: str) -> Finding:
    return Finding(
        "memory.unknown",
        server,
        f"how much memory {server} has left is not known, so the version was loaded unchecked",
        "register the server with its metrics address",
        Severity.WARNING,
    )
