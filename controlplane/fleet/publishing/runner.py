"""Taking a publication through its steps, by one worker at a time."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from controlplane.audit.domain import Actor
from controlplane.fleet.domain import PLANS, PublicationKind, PublicationState, PublicationStep, StepState
from controlplane.fleet.errors import PostponedError, StepFailedError
from controlplane.fleet.models import Publication, PublicationStepRun
from controlplane.fleet.publishing.steps import STEPS, StepContext, undo
from controlplane.fleet.services.publications import claimable
from controlplane.wire.errors import ControlPlaneError
from model_repository_tools.errors import ModelRepositoryError

logger = logging.getLogger(__name__)

HEARTBEAT_S = 3.0


class CancelledError(ControlPlaneError):
    """Staff cancelled the publication."""

    code = "publication.cancelled"


class TakenOverError(ControlPlaneError):
    """Another worker has this publication now; this one must not write any more."""

    code = "publication.taken_over"


def run_publication(publication_id: int) -> PublicationState | None:
    """Carries out a publication from its first step; steps that were done find their work done.

    Returns:
        How it ended, or that it waits again; None when another worker has it, or there is nothing to do.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    publication = _claim(publication_id, worker)
    if publication is None:
        return None
    logger.info("publication %s: %s begins, attempt %s", publication.pk, publication, publication.attempt)
    with _heartbeat(publication.pk, worker):
        try:
            state, error = _run_steps(publication, worker)
        except TakenOverError:
            logger.warning("publication %s was taken over by another worker", publication.pk)
            return None
        return _finish(publication, worker, state, error)


def _run_steps(publication: Publication, worker: str) -> tuple[PublicationState, str]:
    def checkpoint() -> None:
        _checkpoint(publication.pk, worker)

    context = StepContext(publication, Actor(f"worker for {publication.requested_by}", unrestricted=True), checkpoint)
    try:
        for step in PLANS[PublicationKind(publication.kind)]:
            checkpoint()
            _run_step(context, step)
    except TakenOverError:
        raise
    except PostponedError:
        return PublicationState.QUEUED, ""
    except CancelledError:
        return PublicationState.CANCELLED, _undo(context)
    except ControlPlaneError as error:
        return PublicationState.FAILED, " ".join(filter(None, [error.message, _undo(context)]))
    return PublicationState.SUCCEEDED, ""


def _undo(context: StepContext) -> str:
    """Takes back what was done; returns what could not be, for people."""
    try:
        undo(context)
    except TakenOverError:
        raise
    except (ControlPlaneError, ModelRepositoryError, OSError) as error:
        logger.exception("publication %s: what was done cannot be taken back", context.publication.pk)
        reason = f": {error}" if isinstance(error, ModelRepositoryError) else ""
        return f"Taking it back failed too{reason}; the worker's log has the details."
    return ""


def _claim(publication_id: int, worker: str) -> Publication | None:
    claimed = Publication.objects.filter(claimable(), pk=publication_id).update(
        state=PublicationState.RUNNING, worker=worker, heartbeat_at=timezone.now(), attempt=F("attempt") + 1
    )
    if not claimed:
        return None
    return Publication.objects.select_related("version__model", "pool").get(pk=publication_id)


@contextmanager
def _heartbeat(publication_id: int, worker: str) -> Iterator[None]:
    """Says every few seconds that this worker lives, also while a step waits for a long load."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_S):
            Publication.objects.filter(pk=publication_id, worker=worker).update(heartbeat_at=timezone.now())
        connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{publication_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _checkpoint(publication_id: int, worker: str) -> None:
    state = Publication.objects.filter(pk=publication_id).values_list("worker", "cancel_requested").get()
    if state[0] != worker:
        raise TakenOverError("Another worker has this publication.")
    if state[1]:
        raise CancelledError("The publication was cancelled.")


def _run_step(context: StepContext, step: PublicationStep) -> None:
    publication = context.publication
    run = PublicationStepRun.objects.create(publication=publication, step=step, attempt=publication.attempt)
    try:
        detail = STEPS[step](context)
    except PostponedError as error:
        _end_step(run, StepState.POSTPONED, detail=error.message)
        raise
    except ControlPlaneError as error:
        _end_step(run, StepState.FAILED, error=error.message)
        raise
    except ModelRepositoryError as error:
        _end_step(run, StepState.FAILED, error=str(error))
        raise StepFailedError(str(error), code=error.code) from error
    except Exception as error:
        logger.exception("publication %s: step %s broke", publication.pk, step)
        message = f"The step broke ({type(error).__name__}); the worker's log has the details."
        _end_step(run, StepState.FAILED, error=message)
        raise StepFailedError(message, code="publication.internal") from error
    _end_step(run, StepState.DONE, detail=detail)


def _end_step(run: PublicationStepRun, state: StepState, *, detail: str = "", error: str = "") -> None:
    run.state, run.detail, run.error, run.finished_at = state, detail, error, timezone.now()
    run.save(update_fields=["state", "detail", "error", "finished_at"])


@transaction.atomic
def _finish(publication: Publication, worker: str, state: PublicationState, error: str) -> PublicationState | None:
    now = timezone.now()
    # One that waits again counts as told of now: the controller tells of it once more after a while.
    ends = {"handed_out_at": now} if state == PublicationState.QUEUED else {"finished_at": now}
    finished = Publication.objects.filter(pk=publication.pk, worker=worker, state=PublicationState.RUNNING).update(
        state=state, error=error, **ends
    )
    if finished:
        logger.info("publication %s: %s %s %s", publication.pk, publication, state, error)
    return state if finished else None
