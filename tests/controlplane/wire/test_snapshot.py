"""Snapshots on the wire."""

from __future__ import annotations

import msgspec
import pytest

from controlplane.wire.errors import InvalidError
from controlplane.wire.signing import Signer, Verifier, generate_signing_key
from controlplane.wire.snapshot import (
    FORMAT,
    Entry,
    KeyEntry,
    ModelEntry,
    VersionRoute,
    decode_snapshot,
    decode_value,
    encode_snapshot,
    encode_value,
)

MODEL = ModelEntry(
    number=7,
    slug="digits",
    default_version=2,
    aliases={"production": 2, "champion": 1},
    versions={number: VersionRoute(number, f"{number}.0.0", f"digits.v{number}", (1, 2)) for number in (1, 2)},
)


def test_a_signed_snapshot_reads_back_as_it_was() -> None:
    private, public = generate_signing_key()
    entry = Entry("model", "digits", 4, encode_value(MODEL))
    envelope = Signer(private).sign(encode_snapshot("instance", 3, 4, [entry]))
    snapshot = decode_snapshot(Verifier(public).open(envelope))
    assert (snapshot.instance, snapshot.since, snapshot.revision, snapshot.format) == ("instance", 3, 4, FORMAT)
    assert decode_value(snapshot.entries[0]) == MODEL


@pytest.mark.parametrize("position", [0, 63, 64, -1])
def test_one_changed_byte_anywhere_breaks_the_signature(position: int) -> None:
    private, public = generate_signing_key()
    envelope = bytearray(Signer(private).sign(encode_snapshot("instance", 0, 1, [])))
    envelope[position] ^= 1
    with pytest.raises(InvalidError, match="signature of a snapshot is wrong"):
        Verifier(public).open(bytes(envelope))


def test_another_control_planes_signature_is_refused() -> None:
    private, _ = generate_signing_key()
    _, public = generate_signing_key()
    with pytest.raises(InvalidError, match="signature"):
        Verifier(public).open(Signer(private).sign(b"payload"))


def test_equal_values_give_equal_bytes_whatever_the_order_they_were_made_in() -> None:
    reordered = msgspec.structs.replace(MODEL, aliases=dict(reversed(MODEL.aliases.items())))
    assert encode_value(reordered) == encode_value(MODEL)


def test_a_kind_this_release_does_not_know_is_skipped() -> None:
    assert decode_value(Entry("quota", "x", 1, b"\x80")) is None


def test_an_added_field_does_not_stop_an_older_reader() -> None:
    newer = msgspec.msgpack.encode({**msgspec.to_builtins(KeyEntry(1, b"", "o", "p")), "digest": b"", "added": 1})
    assert decode_value(Entry("key", "k", 1, newer)) == KeyEntry(1, b"", "o", "p")


@pytest.mark.parametrize("payload", [b"", b"\x93\x01", b"not msgpack at all"])
def test_a_malformed_snapshot_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidError, match="cannot be read"):
        decode_snapshot(payload)


def test_a_newer_format_is_refused_with_what_to_do() -> None:
    newer = msgspec.msgpack.decode(encode_snapshot("instance", 0, 1, []))
    newer["format"] = FORMAT + 1
    with pytest.raises(InvalidError, match="Upgrade the older of the two"):
        decode_snapshot(msgspec.msgpack.encode(newer))
