"""What the gateway was told: the snapshot in the form requests ask it questions.

A request reads everything it needs of the orders in one go, without awaiting in between, so it never sees half a
revision; changes are therefore applied in place, at the cost of what changed and not of what there is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from controlplane.wire.errors import InvalidError
from controlplane.wire.snapshot import Entry, KeyEntry, ModelEntry, ServerEntry, Snapshot, decode_value


class DecodedChange(NamedTuple):
    """An entry with its value decoded; `value` None removes it."""

    kind: str
    name: str
    value: KeyEntry | ModelEntry | ServerEntry | None


def decode_changes(entries: Iterable[Entry]) -> list[DecodedChange]:
    """Decodes entries; slow for a large base, so call it off the event loop."""
    return [DecodedChange(entry.kind, entry.name, decode_value(entry)) for entry in entries]


class Orders:
    """The state of one gateway process at one revision.

    Attributes:
        instance: the control plane these orders come from; empty before the first.
        revision: the last revision applied; 0 before the first.
        received_at_s: Unix time at which the control plane last confirmed these orders.
        keys: by key id. models: by slug. servers: by id.
    """

    def __init__(self) -> None:
        self.instance = ""
        self.revision = 0
        self.received_at_s = 0.0
        self.keys: dict[str, KeyEntry] = {}
        self.models: dict[str, ModelEntry] = {}
        self.servers: dict[int, ServerEntry] = {}

    @property
    def known(self) -> bool:
        """Whether any orders arrived yet."""
        return self.revision > 0

    def age_s(self) -> float:
        """Seconds since the control plane last confirmed these orders; infinite before the first."""
        return time.time() - self.received_at_s if self.known else float("inf")

    def confirm(self, at_s: float | None = None) -> None:
        """Notes that the orders are current as of a Unix time, now by default."""
        self.received_at_s = time.time() if at_s is None else at_s

    def apply(self, snapshot: Snapshot, changes: list[DecodedChange]) -> None:
        """Moves to the snapshot's revision.

        Args:
            snapshot: a base (``since`` 0) replaces everything; anything else must continue from this revision.
            changes: the snapshot's entries, decoded by `decode_changes`.

        Raises:
            InvalidError: the snapshot does not continue these orders; ask for a base.
        """
        if snapshot.since == 0:
            self.keys, self.models, self.servers = {}, {}, {}
        elif snapshot.instance != self.instance or snapshot.since > self.revision:
            raise InvalidError(
                f"Changes since revision {snapshot.since} of {snapshot.instance} do not continue revision "
                f"{self.revision} of {self.instance or 'nothing'}.",
                code="snapshot.gap",
            )
        for change in changes:
            self._apply_one(change)
        self.instance = snapshot.instance
        self.revision = snapshot.revision
        self.confirm(snapshot.issued_at_s)

    def _apply_one(self, change: DecodedChange) -> None:
        if change.value is None:
            self._remove(change.kind, change.name)
        elif isinstance(change.value, KeyEntry):
            self.keys[change.name] = change.value
        elif isinstance(change.value, ModelEntry):
            self.models[change.name] = change.value
        else:
            self.servers[change.value.id] = change.value

    def _remove(self, kind: str, name: str) -> None:
        if kind == "key":
            self.keys.pop(name, None)
        elif kind == "model":
            self.models.pop(name, None)
        elif kind == "server" and name.isdigit():
            self.servers.pop(int(name), None)
