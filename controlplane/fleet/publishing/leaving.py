"""Steps that take a version out of a pool so that no request notices, and the way back of publications that failed."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from controlplane.audit.services import record, touch
from controlplane.fleet.domain import PlacementState, PublicationKind
from controlplane.fleet.errors import PostponedError, StepFailedError, TritonRefusedError, TritonUnavailableError
from controlplane.fleet.models import Placement, Publication, Server
from controlplane.fleet.publishing.context import POLL_S, StepContext, note
from controlplane.fleet.triton import TritonClient
from controlplane.registry.domain import VersionState
from controlplane.registry.models import ModelVersion
from controlplane.registry.selectors import uses_of
from controlplane.registry.services import move_version

logger = logging.getLogger(__name__)

GATEWAY_PATIENCE_S = 20.0
"""How long a worker waits for gateways before it turns to other work; they mostly answer within a tenth of a second."""
QUIET_S = 1.0
"""A server where no request of the version ended for so long gets none any more."""
UNLOAD_TIMEOUT_S = 600.0


@transaction.atomic
def withdraw_routes(context: StepContext) -> str:
    """Takes the version out of the routes of this pool; out of its last pool, it is retired from here on.

    Raises:
        StepFailedError: an alias or ensemble came to need it since the retirement was asked for.
    """
    publication, version = context.publication, context.publication.version
    here = Placement.objects.filter(version=version, server__pool=publication.pool, proven=True)
    # A write, not a read: it holds off an alias that would be pointed at the version in this moment.
    ModelVersion.objects.filter(pk=version.pk).update(updated_at=timezone.now())
    version.refresh_from_db()
    routed = here.update(proven=False)
    if routed or publication.withdrawn_at is None:
        publication.withdrawn_at, publication.withdrawn_revision = timezone.now(), None
        publication.unrouted_at, publication.held_by = None, []
        publication.save(update_fields=["withdrawn_at", "withdrawn_revision", "unrouted_at", "held_by"])
        touch("model", [version.model.slug])
    if Placement.objects.filter(version=version, proven=True).exists():
        return "other pools go on serving it"
    if uses := uses_of(version):
        raise StepFailedError(f"{version} is needed by {', '.join(uses)}; it stays.", code="version.in_use")
    if version.state == VersionState.PUBLISHED:
        move_version(version, VersionState.RETIRED)
        record(context.actor, action="fleet.version_retired", target=version, after={"pool": publication.pool.slug})
    return "nothing new is routed to it"


def drain(context: StepContext) -> str:
    """Waits until every live gateway obeys a snapshot without the version, and then until no request of it ends.

    Raises:
        PostponedError: a gateway takes its time; it is looked at again later.
    """
    started = time.monotonic()
    while not _is_unrouted(context.publication):
        context.checkpoint()
        if time.monotonic() - started > GATEWAY_PATIENCE_S:
            waiting = ", ".join(context.publication.held_by) or "the controller's next snapshot"
            raise PostponedError(f"It waits for {waiting}; a gateway that stays silent is given up after 15 minutes.")
        time.sleep(POLL_S)
    unrouted_s = time.monotonic() - started
    for server in context.publication.pool.servers.all():
        _wait_until_quiet(context, server)
    return f"gateways left it after {unrouted_s:.2f} s, requests after {time.monotonic() - started:.2f} s"


def unload_everywhere(context: StepContext) -> str:
    """Unloads the version on each server that answers and waits until its memory is free."""
    done = [server.name for server in context.publication.pool.servers.all() if _unload(context, server)]
    return ", ".join(done) or "it is loaded nowhere"


def archive_files(context: StepContext) -> str:
    """Moves the version's folder into the attic, from where it can be brought back until the undo window ends."""
    publication = context.publication
    if context.repository.contains(context.triton_name) or context.triton_name in context.repository.retired_names():
        context.repository.retire(context.triton_name)
    # A server that started since the last step has found the folder and loaded it; from now on none can.
    unload_everywhere(context)
    publication.attic_until = timezone.now() + timedelta(seconds=publication.pool.undo_window_s)
    publication.save(update_fields=["attic_until"])
    return f"until {publication.attic_until:%Y-%m-%d %H:%M} UTC"


def undo(context: StepContext) -> None:
    """Takes back a publication that did not succeed: what lies in the repository is exactly what should be loaded.

    What may be routed to stays: it is serving. A retirement is not taken back, since the routes are gone: it can be run
    again, or the version restored.
    """
    if context.publication.kind == PublicationKind.RETIRE or context.serves_here():
        return
    context.repository.discard_stage(context.stage_id)
    if context.repository.contains(context.triton_name):
        context.repository.retire(context.triton_name)
        if context.publication.kind == PublicationKind.PUBLISH:
            context.repository.discard_retired(context.triton_name)
    for server in context.publication.pool.servers.all():
        try:
            with TritonClient(server) as triton:
                triton.unload(context.triton_name)
        except (TritonRefusedError, TritonUnavailableError) as error:
            logger.warning("%s stays loaded on %s: %s", context.triton_name, server.name, error.message)


def _is_unrouted(publication: Publication) -> bool:
    publication.refresh_from_db(fields=["unrouted_at", "held_by"])
    return publication.unrouted_at is not None


def _wait_until_quiet(context: StepContext, server: Server) -> None:
    """Returns once no request of the version ended on the server for a while.

    No gateway waits longer for an answer than the model's time limit; whatever comes after that came past them, and
    Triton lets it finish while it unloads.
    """
    limit_s = context.publication.version.model.timeout_s
    started = quiet_since = time.monotonic()
    with TritonClient(server) as triton:
        ended = _ended_requests(context, triton)
        while ended is not None and time.monotonic() - quiet_since < QUIET_S:
            if time.monotonic() - started > limit_s:
                return
            context.checkpoint()
            time.sleep(POLL_S)
            before, ended = ended, _ended_requests(context, triton)
            if ended != before:
                quiet_since = time.monotonic()


def _ended_requests(context: StepContext, triton: TritonClient) -> int | None:
    """How many requests of the version the server has ended; None where it is not loaded or nobody answers."""
    try:
        return triton.ended_requests(context.triton_name, context.publication.version.number)
    except (TritonRefusedError, TritonUnavailableError):
        return None


def _unload(context: StepContext, server: Server) -> bool:
    """Unloads the version on a server and waits for it; False where the server is down, so nothing is loaded."""
    started = time.monotonic()
    with TritonClient(server) as triton:
        if not triton.is_live():
            return False
        if triton.is_loaded(context.triton_name):
            triton.unload(context.triton_name)
        while triton.is_loaded(context.triton_name):
            context.checkpoint()
            if time.monotonic() - started > UNLOAD_TIMEOUT_S:
                raise StepFailedError(f"{server.name} still unloads after {UNLOAD_TIMEOUT_S:.0f} s. See its log.")
            time.sleep(POLL_S)
    note(server, context.publication, PlacementState.ABSENT, "unloaded")
    return True
