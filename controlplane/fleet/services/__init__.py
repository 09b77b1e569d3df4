"""Writes to pools, servers, publications and what was seen of them."""

from controlplane.fleet.services.observations import observe_server
from controlplane.fleet.services.pools import register_pool, register_server, set_server_state
from controlplane.fleet.services.publications import (
    cancel_publication,
    hand_out_publications,
    publish_version,
    retry_publication,
)

__all__ = [
    "cancel_publication",
    "hand_out_publications",
    "observe_server",
    "publish_version",
    "register_pool",
    "register_server",
    "retry_publication",
    "set_server_state",
]
