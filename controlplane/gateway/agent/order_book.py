"""The agent's copy of the orders: what it hands to a worker that starts, and what it compares a base with."""

from __future__ import annotations

import msgspec

from controlplane.wire.errors import InvalidError
from controlplane.wire.snapshot import FORMAT, Entry, ModelEntry, ServerEntry, Snapshot, decode_value

_encoder = msgspec.msgpack.Encoder()


class OrderBook:
    """The entries at one revision, still encoded.

    Attributes:
        instance: the control plane they come from; empty before the first.
        revision: the revision they are at; 0 before the first.
        confirmed_at_s: Unix time at which the control plane last confirmed them; 0 before the first.
        model_names: by the model's number in usage records; also of models that are gone, whose records may still come.
        servers: by id.
        versions: Triton's model name -> the public name and number of the version.
        load_events: (slug, version, ``loaded`` or ``unloaded``) -> how often a version became ready somewhere, or
            ceased to be ready anywhere, since this process started.
    """

    def __init__(self) -> None:
        self.instance = ""
        self.revision = 0
        self.confirmed_at_s = 0.0
        self.model_names: dict[int, str] = {}
        self.servers: dict[int, ServerEntry] = {}
        self.versions: dict[str, tuple[str, int]] = {}
        self.load_events: dict[tuple[str, int, str], int] = {}
        self._models: dict[str, ModelEntry] = {}
        self._entries: dict[tuple[str, str], Entry] = {}

    @property
    def known(self) -> bool:
        """Whether there are any orders."""
        return self.revision > 0

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """Moves to the snapshot's revision; returns what workers at the previous revision need for the same step.

        That is the snapshot itself, except for a base from the same control plane: workers get only what it changes.

        Raises:
            InvalidError: the snapshot does not continue these orders; ask for a base.
        """
        step = snapshot
        if snapshot.since == 0:
            if snapshot.instance == self.instance and snapshot.revision >= self.revision:
                step = self._difference(snapshot)
            else:
                self._entries, self.servers = {}, {}
                for slug in list(self._models):
                    self._note_model(slug, None)
        elif snapshot.instance != self.instance or not snapshot.since <= self.revision <= snapshot.revision:
            raise InvalidError(
                f"Changes since revision {snapshot.since} do not continue revision {self.revision}.",
                code="snapshot.gap",
            )
        for entry in step.entries:
            self._apply_entry(entry)
        self.instance = snapshot.instance
        self.revision = snapshot.revision
        return step

    def base(self) -> bytes:
        """A base of these orders, in the form workers read."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.revision)
        return encode_step(Snapshot(FORMAT, self.instance, 0, self.revision, entries, self.confirmed_at_s))

    def _difference(self, base: Snapshot) -> Snapshot:
        named = {(entry.kind, entry.name) for entry in base.entries}
        changed = [entry for entry in base.entries if self._value(entry) != entry.value]
        gone = [Entry(kind, name, base.revision) for kind, name in self._entries if (kind, name) not in named]
        return msgspec.structs.replace(base, since=self.revision, entries=changed + gone)

    def _value(self, entry: Entry) -> bytes | None:
        mine = self._entries.get((entry.kind, entry.name))
        return mine.value if mine else None

    def _apply_entry(self, entry: Entry) -> None:
        if entry.value is None:
            self._entries.pop((entry.kind, entry.name), None)
            if entry.kind == "server" and entry.name.isdigit():
                self.servers.pop(int(entry.name), None)
            elif entry.kind == "model":
                self._note_model(entry.name, None)
            return
        self._entries[entry.kind, entry.name] = entry
        if entry.kind == "key":  # the many; nothing here asks what is in them
            return
        value = decode_value(entry)
        if isinstance(value, ModelEntry):
            self.model_names[value.number] = value.slug
            self._note_model(entry.name, value)
        elif isinstance(value, ServerEntry):
            self.servers[value.id] = value

    def _note_model(self, slug: str, model: ModelEntry | None) -> None:
        """Keeps track of which versions are ready anywhere."""
        before, after = self._models.pop(slug, None), model
        old = {} if before is None else before.versions
        new = {} if after is None else after.versions
        if after is not None:
            self._models[slug] = after
        for number in old.keys() | new.keys():
            was, is_ = number in old and bool(old[number].servers), number in new and bool(new[number].servers)
            if was != is_:
                event = (slug, number, "loaded" if is_ else "unloaded")
                self.load_events[event] = self.load_events.get(event, 0) + 1
        for version in old.values():
            self.versions.pop(version.triton_name, None)
        for version in new.values():
            self.versions[version.triton_name] = (slug, version.number)


def encode_step(snapshot: Snapshot) -> bytes:
    """A snapshot as the channel carries it; unlike `wire.snapshot.encode_snapshot` it keeps the time of issue."""
    return _encoder.encode(snapshot)
