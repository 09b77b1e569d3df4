"""The channel between the agent and one of its workers: typed frames over an inherited Unix stream socket.

A frame is its payload's length (4 bytes, big-endian), one byte of type, and the payload. Either side learns of the
other's death by the end of the stream: a worker whose agent is gone closes its listening sockets at once, drains and
exits, so that the next agent can bind them.

The first frame to a worker is `SNAPSHOT` with a base, or `CONFIRM` with time 0 while there are no orders at all. A
worker that reads it before it listens never refuses what its predecessor served. Workers ignore SIGINT: a terminal
sends it to every process, and the agent's `QUIT` is what stops them in order.
"""

from __future__ import annotations

import asyncio
import socket
import struct

import msgspec

SNAPSHOT = b"S"
"""To the worker: a `wire.snapshot.Snapshot` as msgpack, base or changes; the agent has checked its signature."""
CONFIRM = b"C"
"""To the worker: the Unix time at which the orders were last confirmed current (`pack_time`)."""
QUIT = b"Q"
"""To the worker: stop listening, finish what is running, exit."""
APPLIED = b"A"
"""To the agent: the revision that every new request of this worker now sees (`pack_revision`)."""
READY = b"R"
"""To the agent: the worker listens."""
METRICS = b"M"
"""To the agent, each second: `WorkerGauges` as msgpack."""

_HEADER = struct.Struct(">Ic")
_TIME = struct.Struct(">d")
_REVISION = struct.Struct(">Q")


class WorkerGauges(msgspec.Struct, frozen=True):
    """What only a worker knows: levels, not counts (counts come from its journal and so survive it).

    Attributes:
        in_flight: requests begun and not finished.
        connections: open client connections.
        unreachable: server id -> consecutive failed attempts; a server that answers is not listed.
    """

    in_flight: int = 0
    connections: int = 0
    unreachable: dict[int, int] = {}


_gauges_encoder = msgspec.msgpack.Encoder()
_gauges_decoder = msgspec.msgpack.Decoder(WorkerGauges)


def pack_time(unix_s: float) -> bytes:
    """The payload of a `CONFIRM` frame."""
    return _TIME.pack(unix_s)


def unpack_time(payload: bytes) -> float:
    """Reads the payload of a `CONFIRM` frame."""
    unix_s: float = _TIME.unpack(payload)[0]
    return unix_s


def pack_revision(revision: int) -> bytes:
    """The payload of an `APPLIED` frame."""
    return _REVISION.pack(revision)


def unpack_revision(payload: bytes) -> int:
    """Reads the payload of an `APPLIED` frame."""
    revision: int = _REVISION.unpack(payload)[0]
    return revision


def pack_gauges(gauges: WorkerGauges) -> bytes:
    """The payload of a `METRICS` frame."""
    return _gauges_encoder.encode(gauges)


def unpack_gauges(payload: bytes) -> WorkerGauges:
    """Reads the payload of a `METRICS` frame.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    return _gauges_decoder.decode(payload)


class Channel:
    """One end of the stream between agent and worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """Takes over a connected Unix stream socket, such as one end of `socket.socketpair()`."""
        sock.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def read(self) -> tuple[bytes, bytes]:
        """The next frame as (type, payload).

        Raises:
            EOFError: the other side closed the channel or died.
        """
        try:
            length, kind = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            return kind, await self._reader.readexactly(length)
        except ConnectionError as error:
            raise EOFError("The other end of the channel is gone.") from error

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Queues a frame; frames arrive in the order they were sent, and are dropped once the other side is gone."""
        if not self._writer.is_closing():
            self._writer.write(_HEADER.pack(len(payload), kind))
            self._writer.write(payload)

    def close(self) -> None:
        """Closes the channel after what was queued is written; the other side reads the end of the stream."""
        self._writer.close()
