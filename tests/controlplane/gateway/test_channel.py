import socket

import pytest

from controlplane.gateway import channel
from controlplane.gateway.channel import Channel, WorkerGauges


async def channel_pair() -> tuple[Channel, Channel]:
    left, right = socket.socketpair()
    return await Channel.open(left), await Channel.open(right)


async def test_frames_arrive_whole_and_in_order() -> None:
    agent, worker = await channel_pair()
    large = bytes(range(256)) * 20_000
    agent.send(channel.SNAPSHOT, large)
    agent.send(channel.CONFIRM, channel.pack_time(1_700_000_000.25))
    agent.send(channel.QUIT)
    assert await worker.read() == (channel.SNAPSHOT, large)
    kind, payload = await worker.read()
    assert (kind, channel.unpack_time(payload)) == (channel.CONFIRM, 1_700_000_000.25)
    assert await worker.read() == (channel.QUIT, b"")
    agent.close()
    worker.close()


async def test_both_sides_speak() -> None:
    agent, worker = await channel_pair()
    worker.send(channel.APPLIED, channel.pack_revision(2**40))
    gauges = WorkerGauges(in_flight=3, connections=9, unreachable={4: 2})
    worker.send(channel.METRICS, channel.pack_gauges(gauges))
    assert channel.unpack_revision((await agent.read())[1]) == 2**40
    assert channel.unpack_gauges((await agent.read())[1]) == gauges
    agent.close()
    worker.close()


async def test_the_other_side_is_told_when_one_is_gone() -> None:
    agent, worker = await channel_pair()
    agent.close()
    with pytest.raises(EOFError):
        await worker.read()
    worker.send(channel.READY)
    worker.close()


async def test_half_a_frame_is_no_frame() -> None:
    left, right = socket.socketpair()
    worker = await Channel.open(right)
    left.sendall(b"\x00\x00\x00\x09Shalf")
    left.close()
    with pytest.raises(EOFError):
        await worker.read()
    worker.close()
