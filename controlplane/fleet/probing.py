"""Looking at servers: what the controller does each second, and once more wherever somebody wants to know now."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from controlplane.fleet.domain import Health
from controlplane.fleet.errors import TritonRefusedError, TritonUnavailableError
from controlplane.fleet.models import Server
from controlplane.fleet.services.observations import Observation, observe_server
from controlplane.fleet.triton import TritonClient, clean_reason

logger = logging.getLogger(__name__)

PARALLEL_PROBES = 16


def probe_servers() -> int:
    """Looks at every server, in parallel, and takes in what was seen; returns how many changed."""
    servers = list(Server.objects.all())
    if not servers:
        return 0
    with ThreadPoolExecutor(min(PARALLEL_PROBES, len(servers)), thread_name_prefix="probe") as threads:
        observations = list(threads.map(look_at, servers))
    return sum(
        observe_server(server=server, observation=seen) for server, seen in zip(servers, observations, strict=True)
    )


def look_at(server: Server) -> Observation:
    """One look at a server, over the network; writes nothing."""
    try:
        with TritonClient(server) as triton:
            if not triton.is_live():
                return Observation(Health.DOWN, "does not answer that it lives")
            about = triton.metadata()
            index = triton.index()
    except (TritonUnavailableError, TritonRefusedError) as error:
        return Observation(Health.DOWN, error.message)
    except FileNotFoundError:
        return Observation(Health.DOWN, f"the secret file {server.control_secret!r} of its control API is missing here")
    return Observation(
        Health.LIVE,
        triton_version=str(about.get("version", "")),
        extensions=[str(name) for name in about.get("extensions", [])],
        models={
            (entry.name, entry.version): (entry.state, clean_reason(entry.reason) if entry.reason else "")
            for entry in index
        },
    )
