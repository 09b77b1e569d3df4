"""The snapshot: everything a gateway may know, as numbered entries.

Every entry (a key, a model with its routes, a server) carries the revision at which it last changed. The entries above
revision r are therefore all that a gateway at r is missing, and those above 0 are the base; there is no second form and
no log to replay. An entry that is gone stays as a tombstone.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import msgspec

from controlplane.wire.errors import InvalidError

FORMAT = 1
"""Raised when an older gateway could misread a newer snapshot; added fields with defaults do not raise it."""


class KeyEntry(msgspec.Struct, frozen=True, array_like=False, omit_defaults=True):
    """What the gateway must know of an API key. It holds no secret: `digest` needs the pepper to be of use.

    Attributes:
        number: the key's number in usage records.
        digest: keyed hash of the whole key (`wire.keys.hash_key`).
        scopes: what the key may do: ``infer``, ``metadata``, ``statistics``.
        models: patterns of the public model names it may use; ``*`` matches any run of characters.
        expires_at_s: Unix time after which it is refused, by the gateway's own clock.
    """

    number: int
    digest: bytes
    organisation: str
    project: str
    scopes: tuple[str, ...] = ("infer", "metadata", "statistics")
    models: tuple[str, ...] = ("*",)
    plan: str = ""
    expires_at_s: float | None = None


class TensorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input or output as the V2 metadata describes it; -1 in `shape` is a free dimension.

    Shapes: with the batch dimension where the version is batched.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] = ()


class VersionRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where one version of a model runs, and what it takes and gives.

    Attributes:
        number: the version's number; also its folder's name in the repository.
        triton_name: its model name in Triton, ``<slug>.v<number>``.
        servers: ids of the servers on which this version was seen READY.
        batched: the first dimension of its inputs counts rows; a version without it takes one row a request.
        inputs: what it takes; empty where the writer was of a release that did not say.
        outputs: what it gives; empty as `inputs` is.
    """

    number: int
    semver: str
    triton_name: str
    servers: tuple[int, ...] = ()
    batched: bool = False
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class ModelCard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What people may know of a model beside its routes, as ``GET /v1/models/{id}`` says it.

    Attributes:
        parameters: name -> ``{"type", "default", "min", "max"}``: what a prediction may set, and within which range.
        input_schema: as the owner wrote it; empty where the tensors say it all, and so is `output_schema`.
    """

    title: str = ""
    description: str = ""
    framework: str = ""
    task: str = ""
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] = {}
    created_at: str = ""
    updated_at: str = ""


class ModelEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public model and its routes.

    Attributes:
        number: the model's number in usage records.
        default_version: the version behind the default alias; None while it points nowhere.
        aliases: alias -> version number.
        default_alias: the alias that the bare name follows; naming it is no different.
        versions: published versions only, by number.
        timeout_s: how long the gateway waits for the first byte of an answer.
        max_body_bytes: the largest request body it accepts for this model.
        body_idle_s: how long a client may pause within a body.
        stream_idle_s: how long a server may pause within an answer.
        card: a `ModelCard` as JSON (`encode_card`), read only when somebody asks for it.
    """

    number: int
    slug: str
    default_version: int | None = None
    aliases: dict[str, int] = {}
    versions: dict[int, VersionRoute] = {}
    timeout_s: float = 60.0
    max_body_bytes: int = 64 * 1024 * 1024
    default_alias: str = "production"
    body_idle_s: float = 30.0
    stream_idle_s: float = 60.0
    card: bytes = b""


class ServerEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Triton that requests may be sent to.

    Attributes:
        http: ``host:port`` of its HTTP endpoint.
        grpc: ``host:port`` of its gRPC endpoint.
        state: ``active`` takes requests; ``cordoned`` takes none that could go elsewhere.
    """

    id: int
    name: str
    pool: str
    http: str
    grpc: str
    state: str = "active"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One numbered entry.

    Attributes:
        kind: ``key``, ``model`` or ``server``.
        name: unique within its kind: the key's id, the model's slug, the server's id.
        revision: the snapshot revision at which this entry last changed.
        value: the entry as msgpack; None says it is gone.
    """

    kind: str
    name: str
    revision: int
    value: bytes | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """What passes from control plane to gateway, signed as a whole.

    Attributes:
        format: `FORMAT` of the writer.
        instance: identifies one control plane's database; revisions of two instances do not compare.
        since: entries with a revision above this one are included; 0 makes it a base.
        revision: the gateway's revision after it applied this.
        entries: in ascending order of revision.
        issued_at_s: Unix time of the writer, for display only.
    """

    format: int
    instance: str
    since: int
    revision: int
    entries: list[Entry]
    issued_at_s: float


ENTRY_TYPES: dict[str, type[KeyEntry | ModelEntry | ServerEntry]] = {
    "key": KeyEntry,
    "model": ModelEntry,
    "server": ServerEntry,
}

_encoder = msgspec.msgpack.Encoder()
_card_encoder = msgspec.json.Encoder(order="sorted")
_card_decoder = msgspec.json.Decoder(ModelCard)
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)
_value_decoders = {kind: msgspec.msgpack.Decoder(of) for kind, of in ENTRY_TYPES.items()}

ValueT = TypeVar("ValueT", KeyEntry, ModelEntry, ServerEntry)


def encode_value(value: KeyEntry | ModelEntry | ServerEntry) -> bytes:
    """An entry's value as msgpack; equal values give equal bytes (maps are written in sorted order)."""
    if isinstance(value, ModelEntry):  # msgspec's own ordering knows only maps with keys of text
        aliases, versions = dict(sorted(value.aliases.items())), dict(sorted(value.versions.items()))
        value = msgspec.structs.replace(value, aliases=aliases, versions=versions)
    return _encoder.encode(value)


def decode_value(entry: Entry) -> KeyEntry | ModelEntry | ServerEntry | None:
    """An entry's value; None for a tombstone or a kind that this release does not know."""
    decoder = _value_decoders.get(entry.kind)
    if entry.value is None or decoder is None:
        return None
    return decoder.decode(entry.value)


def encode_card(card: ModelCard) -> bytes:
    """A card as JSON; equal cards give equal bytes."""
    return _card_encoder.encode(card)


def decode_card(card: bytes) -> ModelCard:
    """Reads `ModelEntry.card`; an empty one is a card that says nothing."""
    return _card_decoder.decode(card) if card else ModelCard()


def encode_snapshot(instance: str, since: int, revision: int, entries: list[Entry]) -> bytes:
    """A snapshot as msgpack, not yet signed."""
    return _encoder.encode(Snapshot(FORMAT, instance, since, revision, entries, time.time()))


def decode_snapshot(payload: bytes) -> Snapshot:
    """Reads a snapshot whose signature was already checked.

    Raises:
        InvalidError: it is not a snapshot, or of a format this release cannot read.
    """
    try:
        snapshot = _snapshot_decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise InvalidError(f"A snapshot cannot be read: {error}.", code="snapshot.malformed") from error
    if snapshot.format != FORMAT:
        raise InvalidError(
            f"The control plane sends snapshots of format {snapshot.format}; this gateway reads format {FORMAT}. "
            "Upgrade the older of the two.",
            code="snapshot.format",
        )
    return snapshot
