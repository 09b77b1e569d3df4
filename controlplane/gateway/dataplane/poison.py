"""Requests that kill: whoever's request saw a server die without an answer twice is held off for a while."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.wire.errors import ErrorKind
from controlplane.wire.usage import Cause

DEATHS = 2
REMEMBERED_S = 60.0
"""How long a death counts."""
HELD_OFF_S = 30.0
SAME_DEATH_S = 1.0
"""A server's connections all break at once when it dies; within this time they tell of one death."""
_MAX_SUSPECTS = 4096


class _Suspect(NamedTuple):
    deaths: tuple[float, ...]
    held_off_until: float


class PoisonWatch:
    """Counts unanswered deaths of servers by key and model.

    A request that dies with its server is never sent again; this keeps its client from sending it again. A bystander
    whose request was running at the same time is counted too: nobody can tell them apart after one death, and after two
    within a minute it is better to turn a bystander away for a while than to lose the server a third time.

    Times are readings of one monotonic clock.
    """

    def __init__(self) -> None:
        self._suspects: dict[tuple[int, int], _Suspect] = {}

    def check(self, key: int, model: int, now: float) -> None:
        """Lets a request pass, or not.

        Raises:
            RefusedError: two servers died of this key's requests to this model lately.
        """
        if not self._suspects:
            return
        suspect = self._suspects.get((key, model))
        if suspect is not None and now < suspect.held_off_until:
            raise RefusedError(
                "A server died twice while it worked on requests of this API key for this model; "
                "change the request and try again later",
                kind=ErrorKind.UNAVAILABLE,
                code="poison_suspected",
                cause=Cause.REQUEST,
                headers=(b"Retry-After: %d\r\n" % (suspect.held_off_until - now + 1),),
            )

    def died(self, key: int, model: int, now: float) -> None:
        """Notes that a server went away with a request unanswered."""
        suspect = self._suspects.get((key, model), _Suspect((), 0.0))
        deaths = tuple(at for at in suspect.deaths if now - at < REMEMBERED_S)
        if deaths and now - deaths[-1] < SAME_DEATH_S:
            return
        deaths = (*deaths, now)
        if len(self._suspects) >= _MAX_SUSPECTS:
            self._suspects.pop(next(iter(self._suspects)))
        self._suspects[key, model] = _Suspect(deaths, now + HELD_OFF_S if len(deaths) >= DEATHS else 0.0)
