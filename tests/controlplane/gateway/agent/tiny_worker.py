"""A worker that does nothing but what the agent can see: obeys orders, answers, records.

It answers any request with its process id, its revision and the keys it knows, after it wrote the record.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import time

from controlplane.env import gateway_settings
from controlplane.gateway import channel
from controlplane.gateway.channel import Channel, WorkerGauges
from controlplane.gateway.journal import Journal
from controlplane.gateway.journal.format import journals_dir
from controlplane.gateway.orders import Orders, decode_changes
from controlplane.wire.snapshot import decode_snapshot
from controlplane.wire.usage import UsageRecord, pack_record


class TinyWorker:
    def __init__(self) -> None:
        self.orders = Orders()
        self.journal = Journal.create(journals_dir(gateway_settings().state_dir), capacity=1024)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(
            {
                "pid": os.getpid(),
                "revision": self.orders.revision,
                "confirmed_at_s": self.orders.received_at_s,
                "keys": sorted(self.orders.keys),
            }
        ).encode()
        now_us = time.time_ns() // 1000
        self.journal.append(pack_record(UsageRecord(now_us, 1, 7, 3, 1, 900, 600, 10, len(body), 200, 0, 0, 1)))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    def obey(self, agent: Channel, kind: bytes, payload: bytes) -> None:
        if kind == channel.SNAPSHOT:
            snapshot = decode_snapshot(payload)
            self.orders.apply(snapshot, decode_changes(snapshot.entries))
            agent.send(channel.APPLIED, channel.pack_revision(self.orders.revision))
        elif kind == channel.CONFIRM:
            self.orders.confirm(channel.unpack_time(payload))

    async def run(self, listener: socket.socket, agent: Channel) -> None:
        self.obey(agent, *await agent.read())
        server = await asyncio.start_server(self.answer, sock=listener)
        agent.send(channel.READY)
        agent.send(channel.METRICS, channel.pack_gauges(WorkerGauges(in_flight=2, connections=3, unreachable={5: 4})))
        try:
            while (frame := await agent.read())[0] != channel.QUIT:
                self.obey(agent, *frame)
        except EOFError:
            pass
        server.close()
        self.journal.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--index", "--http-fd", "--agent-fd"):
        parser.add_argument(name, type=int, required=True)
    arguments = parser.parse_args()
    agent = await Channel.open(socket.socket(fileno=arguments.agent_fd))
    await TinyWorker().run(socket.socket(fileno=arguments.http_fd), agent)


if __name__ == "__main__":
    asyncio.run(main())
