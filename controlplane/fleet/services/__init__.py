"""Writes to pools, servers, publications and what was seen of them."""

from controlplane.fleet.services.observations import observe_server
from controlplane.fleet.services.pools import register_pool, register_server, set_server_state
from controlplane.fleet.services.publications import (
    cancel_publication,
    hand_out_publications,
    publish_version,
    restore_version,
    retire_version,
    retry_publication,
)
from controlplane.fleet.services.upkeep import empty_attics, reap_stages, retire_surplus_versions
from controlplane.fleet.services.withdrawals import note_withdrawal

__all__ = [
    "cancel_publication",
    "empty_attics",
    "hand_out_publications",
    "note_withdrawal",
    "observe_server",
    "publish_version",
    "reap_stages",
    "register_pool",
    "register_server",
    "restore_version",
    "retire_surplus_versions",
    "retire_version",
    "retry_publication",
    "set_server_state",
]
