import pytest

from controlplane.gateway.dataplane.poison import HELD_OFF_S, REMEMBERED_S, SAME_DEATH_S, PoisonWatch
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.wire.usage import Cause


def _is_held_off(watch: PoisonWatch, now: float, key: int = 1, model: int = 1) -> bool:
    try:
        watch.check(key, model, now)
    except RefusedError as refusal:
        return (refusal.http_status, refusal.code, refusal.cause) == (503, "poison_suspected", Cause.REQUEST)
    return False


def test_two_deaths_hold_a_key_off_a_model_for_a_while() -> None:
    watch = PoisonWatch()
    watch.died(1, 1, 100.0)
    assert not _is_held_off(watch, 100.1)

    watch.died(1, 1, 110.0)

    assert _is_held_off(watch, 110.1)
    assert _is_held_off(watch, 110.0 + HELD_OFF_S - 0.1)
    assert not _is_held_off(watch, 110.0 + HELD_OFF_S + 0.1)
    assert not _is_held_off(watch, 110.1, key=2)
    assert not _is_held_off(watch, 110.1, model=2)


def test_the_connections_of_one_death_count_once() -> None:
    watch = PoisonWatch()
    for number in range(16):
        watch.died(1, 1, 100.0 + number * SAME_DEATH_S / 20)

    assert not _is_held_off(watch, 101.0)


def test_deaths_far_apart_do_not_add_up() -> None:
    watch = PoisonWatch()
    watch.died(1, 1, 100.0)
    watch.died(1, 1, 100.0 + REMEMBERED_S + 1)

    assert not _is_held_off(watch, 100.0 + REMEMBERED_S + 2)


def test_what_is_remembered_is_bounded() -> None:
    watch = PoisonWatch()
    for key in range(10_000):
        watch.died(key, 1, 100.0)

    watch.died(9_999, 1, 110.0)

    with pytest.raises(RefusedError):
        watch.check(9_999, 1, 110.1)
