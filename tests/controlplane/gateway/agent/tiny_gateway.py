"""The real agent with tiny workers."""

import asyncio
import signal
import sys

from controlplane.env import gateway_settings
from controlplane.gateway.agent.agent import run_agent
from controlplane.gateway.logs import configure_logs


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    worker = (sys.executable, "-m", "tests.controlplane.gateway.agent.tiny_worker")
    await run_agent(gateway_settings(), stop, worker_command=worker)


if __name__ == "__main__":
    configure_logs("agent", "INFO")
    asyncio.run(main())
