"""Long and regular work of the registry, run by Celery. A message holds an id; the database says what is to be done."""

from __future__ import annotations

from celery import shared_task

from controlplane.registry.import_jobs import run_import as carry_out
from controlplane.registry.import_jobs.services import RUN_TASK
from controlplane.registry.uploads import expire_uploads as remove_expired


@shared_task(name=RUN_TASK)
def run_import(import_id: int) -> None:
    """Carries out one import, unless another worker has it."""
    carry_out(import_id)


@shared_task(name="registry.expire_uploads")
def expire_uploads() -> None:
    """Removes uploads whose time is over. Beat asks for it: it needs the store, which the controller does not have."""
    remove_expired()
