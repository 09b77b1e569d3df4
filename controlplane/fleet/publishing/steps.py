"""The steps of publications.

Each step looks at how things are and brings them to where it wants them, so it may be run again after a crash at any
point, by any worker. None of them touches a model that is serving: every version is a Triton model of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from controlplane.fleet.domain import PublicationStep
from controlplane.fleet.publishing.arriving import commit_files, return_from_attic, stage_files, verify_files
from controlplane.fleet.publishing.context import StepContext
from controlplane.fleet.publishing.leaving import archive_files, drain, undo, unload_everywhere, withdraw_routes
from controlplane.fleet.publishing.serving import (
    load_on_servers,
    open_to_requests,
    prove_by_golden_requests,
    wait_until_ready,
)

__all__ = ["STEPS", "StepContext", "undo"]

STEPS: dict[PublicationStep, Callable[[StepContext], str]] = {
    PublicationStep.STAGE: stage_files,
    PublicationStep.VERIFY: verify_files,
    PublicationStep.COMMIT: commit_files,
    PublicationStep.LOAD: load_on_servers,
    PublicationStep.READY: wait_until_ready,
    PublicationStep.GOLDEN: prove_by_golden_requests,
    PublicationStep.ROUTE: open_to_requests,
    PublicationStep.WITHDRAW: withdraw_routes,
    PublicationStep.DRAIN: drain,
    PublicationStep.UNLOAD: unload_everywhere,
    PublicationStep.ARCHIVE: archive_files,
    PublicationStep.RETURN: return_from_attic,
}
"""What each step does; `PLANS` says which are run, and in which order. Each returns a sentence for people."""
