import pytest

from controlplane.gateway.agent.order_book import OrderBook, encode_step
from controlplane.gateway.orders import Orders, decode_changes
from controlplane.wire.errors import InvalidError
from controlplane.wire.snapshot import (
    FORMAT,
    Entry,
    KeyEntry,
    ModelEntry,
    ServerEntry,
    Snapshot,
    decode_snapshot,
    encode_value,
)


def key(name: str, revision: int, organisation: str = "organisation") -> Entry:
    return Entry("key", name, revision, encode_value(KeyEntry(revision, b"digest", organisation, "project")))


def snapshot(since: int, revision: int, *entries: Entry, instance: str = "control-1") -> Snapshot:
    return Snapshot(FORMAT, instance, since, revision, list(entries), 1000.0)


def obey(orders: Orders, payload: bytes) -> Orders:
    step = decode_snapshot(payload)
    orders.apply(step, decode_changes(step.entries))
    return orders


def test_a_worker_that_followed_and_one_that_starts_now_know_the_same() -> None:
    book, follower = OrderBook(), Orders()
    steps = [
        snapshot(0, 3, key("a", 1), key("b", 2), Entry("model", "digits", 3, encode_value(ModelEntry(7, "digits")))),
        snapshot(3, 5, Entry("key", "a", 4), key("c", 5)),
        snapshot(5, 6, Entry("server", "9", 6, encode_value(ServerEntry(9, "t", "p", "h:1", "h:2")))),
        # A base in between, as after a compaction: b changed, c is gone without a tombstone.
        snapshot(0, 8, key("b", 8, "another"), Entry("model", "digits", 3, encode_value(ModelEntry(7, "digits")))),
    ]
    for step in steps:
        obey(follower, encode_step(book.apply(step)))
    starter = obey(Orders(), book.base())
    assert follower.revision == starter.revision == 8
    assert follower.keys == starter.keys
    assert list(starter.keys) == ["b"]
    assert starter.keys["b"].organisation == "another"
    assert follower.models == starter.models
    assert follower.servers == starter.servers == {}
    assert book.model_names == {7: "digits"}


def test_a_base_of_the_same_control_plane_is_passed_on_as_its_difference() -> None:
    book = OrderBook()
    book.apply(snapshot(0, 3, *(key(f"k{number}", 1) for number in range(100))))
    step = book.apply(snapshot(0, 4, *(key(f"k{number}", 1) for number in range(99)), key("new", 4)))
    assert (step.since, step.revision) == (3, 4)
    assert [(entry.name, entry.value is None) for entry in step.entries] == [("new", False), ("k99", True)]


def test_a_base_of_another_control_plane_or_an_older_one_is_passed_on_whole() -> None:
    book = OrderBook()
    book.apply(snapshot(0, 3, key("a", 1)))
    assert book.apply(snapshot(0, 1, key("b", 1), instance="control-2")).since == 0
    assert book.apply(snapshot(0, 1, key("b", 1), instance="control-2")).since == 1
    assert obey(Orders(), book.base()).keys.keys() == {"b"}


@pytest.mark.parametrize(
    "step",
    [snapshot(4, 5, key("b", 5)), snapshot(3, 4, key("b", 4), instance="control-2"), snapshot(1, 2, key("b", 2))],
    ids=["gap", "other instance", "backwards"],
)
def test_changes_that_do_not_continue_are_refused_and_change_nothing(step: Snapshot) -> None:
    book = OrderBook()
    book.apply(snapshot(0, 3, key("a", 1)))
    before = book.base()
    with pytest.raises(InvalidError) as refusal:
        book.apply(step)
    assert refusal.value.code == "snapshot.gap"
    assert book.base() == before
