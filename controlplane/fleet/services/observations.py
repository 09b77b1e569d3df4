"""What was seen of a server. Only changes are written: a quiet fleet writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from controlplane.audit.services import touch
from controlplane.fleet.domain import Health, PlacementState
from controlplane.fleet.models import Placement, Server

SEEN_GRANULARITY_S = 10.0
"""How old `seen_at` may become before it is written again though nothing changed."""


@dataclass(frozen=True)
class Observation:
    """One look at a server.

    Attributes:
        models: (Triton model name, version) -> state and reason in Triton's words; empty when the server is down.
    """

    health: Health
    reason: str = ""
    triton_version: str = ""
    extensions: list[str] = field(default_factory=list)
    models: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)


@transaction.atomic
def observe_server(*, server: Server, observation: Observation) -> bool:
    """Takes in one look at a server; returns whether anything about it changed."""
    changed = _note_health(server, observation)
    if observation.health == Health.LIVE:
        # What a silent server served is kept: it goes on being the place to try where there is no other, so a probe
        # that was merely slow costs no request.
        changed |= _note_placements(server, observation)
    return changed


def placement_state(observed: tuple[str, str] | None) -> tuple[PlacementState, str]:
    """What Triton's word for a version's state, and its reason, mean here."""
    if observed is None:
        return PlacementState.ABSENT, ""
    state, reason = observed
    if state == "READY":
        return PlacementState.READY, ""
    if state in {"LOADING", "UNLOADING"}:
        return PlacementState.LOADING, state.lower()
    if state == "UNAVAILABLE" and reason not in {"", "unloaded"}:
        return PlacementState.FAILED, reason
    return PlacementState.ABSENT, reason


def _note_health(server: Server, observation: Observation) -> bool:
    now = timezone.now()
    fields: dict[str, object] = {"health": observation.health, "health_reason": observation.reason[:500]}
    if observation.triton_version:
        fields |= {"triton_version": observation.triton_version, "extensions": observation.extensions}
    changed = any(getattr(server, name) != value for name, value in fields.items())
    stale = server.seen_at is None or (now - server.seen_at).total_seconds() > SEEN_GRANULARITY_S
    if observation.health == Health.LIVE and (changed or stale):
        fields["seen_at"] = now
    if changed or "seen_at" in fields:
        Server.objects.filter(pk=server.pk).update(**fields)
        for name, value in fields.items():
            setattr(server, name, value)
    if changed:
        touch("server", [str(server.pk)])
    return changed


def _note_placements(server: Server, observation: Observation) -> bool:
    changed: list[Placement] = []
    for placement in server.placements.select_related("version__model"):
        key = (placement.version.triton_name, str(placement.version.number))
        state, reason = placement_state(observation.models.get(key) or observation.models.get((key[0], "")))
        if (placement.state, placement.reason) != (state, reason):
            placement.state, placement.reason = state, reason
            changed.append(placement)
    return _write(changed)


def _write(changed: list[Placement]) -> bool:
    if changed:
        now = timezone.now()
        for placement in changed:
            placement.changed_at = now
        Placement.objects.bulk_update(changed, ["state", "reason", "changed_at"])
        touch("model", sorted({placement.version.model.slug for placement in changed}))
    return bool(changed)
