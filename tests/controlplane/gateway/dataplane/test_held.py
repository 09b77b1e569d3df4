import pytest

from controlplane.gateway.dataplane.held import HeldBytes
from controlplane.gateway.dataplane.refusals import RefusedError


def test_room_is_taken_and_given_back() -> None:
    held = HeldBytes(100)
    held.claim(60)
    with pytest.raises(RefusedError) as refused:
        held.claim(41)
    assert (refused.value.http_status, refused.value.code) == (503, "gateway.memory")
    held.claim(-20)
    held.claim(60)
    assert held.total == 100
