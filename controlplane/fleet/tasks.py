"""Long work of the fleet, run by Celery. A message holds an id; the database says what is to be done."""

from __future__ import annotations

from celery import shared_task

from controlplane.fleet.publishing import run_publication as carry_out
from controlplane.fleet.services.publications import RUN_TASK


@shared_task(name=RUN_TASK)
def run_publication(publication_id: int) -> None:
    """Carries out one publication, unless another worker has it."""
    carry_out(publication_id)
