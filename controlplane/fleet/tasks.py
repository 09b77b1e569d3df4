"""Long work of the fleet, run by Celery. A message holds an id; the database says what is to be done."""

from __future__ import annotations

from celery import shared_task

from controlplane.audit.domain import system_actor
from controlplane.fleet.publishing import run_publication as carry_out
from controlplane.fleet.services import empty_attics, reap_stages, retire_surplus_versions
from controlplane.fleet.services.publications import RUN_TASK


@shared_task(name=RUN_TASK)
def run_publication(publication_id: int) -> None:
    """Carries out one publication, unless another worker has it."""
    carry_out(publication_id)


@shared_task(name="fleet.tend_pools")
def tend_pools() -> None:
    """Empties attics, retires versions that their models no longer keep, and removes what crashes left behind."""
    empty_attics()
    retire_surplus_versions(system_actor("upkeep"))
    reap_stages()
