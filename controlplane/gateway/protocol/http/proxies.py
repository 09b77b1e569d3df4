"""Whose word is taken for where a request comes from."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network


class TrustedProxies:
    """The addresses whose ``X-Forwarded-For`` is believed.

    Raises:
        ValueError: one of the networks is none.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(network, strict=False) for network in networks]
        self._trusts = lru_cache(maxsize=4096)(self._is_trusted)

    def client_address(self, peer: str, forwarded_for: bytes) -> str:
        """The address nearest to us that is not a trusted proxy's; what lies beyond that one could be made up."""
        if not self._networks or not self._trusts(peer):
            return peer
        address = peer
        for item in reversed(forwarded_for.decode("latin-1").split(",")):
            address = item.strip() or address
            if not self._trusts(address):
                break
        return address

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)
