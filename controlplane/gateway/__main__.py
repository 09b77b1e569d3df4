"""``python -m controlplane.gateway``: the gateway of one host."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from pydantic import ValidationError

from controlplane.env import GatewaySettings, gateway_settings
from controlplane.gateway.agent.agent import run_agent
from controlplane.gateway.logs import configure_logs
from controlplane.wire.errors import ControlPlaneError

logger = logging.getLogger("controlplane.gateway")


def main() -> int:
    """Runs the gateway until SIGTERM or SIGINT; the process' exit status."""
    try:
        settings = gateway_settings()
    except ValidationError as error:
        configure_logs("agent", "INFO")
        reasons = [f"GATEWAY_{'.'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors()]
        logger.critical("A setting is wrong.", extra={"reasons": reasons})
        return 2
    configure_logs("agent", settings.log_level)
    try:
        asyncio.run(_run(settings))
    except (ControlPlaneError, FileNotFoundError, ValueError) as error:
        logger.critical("The gateway cannot start.", extra={"reason": str(error)})
        return 1
    return 0


async def _run(settings: GatewaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    renew = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, renew.set)
    await run_agent(settings, stop, renew=renew)


if __name__ == "__main__":
    sys.exit(main())
