"""What all protocols share: may this key do that, which version is meant, and the books."""

from __future__ import annotations

import secrets
from importlib.metadata import PackageNotFoundError, version
from itertools import count

from controlplane.gateway.dataplane.access_log import AccessLog
from controlplane.gateway.dataplane.authenticate import Authenticator, may_use
from controlplane.gateway.dataplane.held import HeldBytes
from controlplane.gateway.dataplane.poison import PoisonWatch
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.route import Router
from controlplane.gateway.dataplane.sequences import SequenceIds
from controlplane.gateway.journal import Journal
from controlplane.gateway.orders import Orders
from controlplane.wire.errors import ErrorKind
from controlplane.wire.snapshot import KeyEntry, ModelEntry

SERVER_NAME = "triton"
"""What public clients expect a server to call itself."""

EXTENSIONS = ("classification", "model_configuration", "schedule_policy", "binary_tensor_data", "parameters")
"""The extensions of the protocol that are served over gRPC; clients read this list."""
HTTP_EXTENSIONS = (*EXTENSIONS, "sequence", "model_repository", "statistics", "generate")
"""Those served over HTTP."""


def release() -> str:
    """The version of this gateway."""
    try:
        return version("triton-controlplane")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


class DataPlane:
    """The part of the gateway that every protocol is a thin shell around.

    Attributes:
        in_flight: requests begun and not finished in this process.
        held: the room for bodies that are read as a whole.
    """

    def __init__(
        self,
        orders: Orders,
        pepper: bytes,
        journal: Journal,
        max_orders_age_s: float | None,
        *,
        held_bytes: int = 512 * 1024 * 1024,
        access_log_ratio: float = 0.0,
    ) -> None:
        self.orders = orders
        self.journal = journal
        self.router = Router(orders)
        self.poison = PoisonWatch()
        self.held = HeldBytes(held_bytes)
        self.sequences = SequenceIds(pepper)
        self.access_log = AccessLog(access_log_ratio)
        self.in_flight = 0
        self._authenticator = Authenticator(orders, pepper)
        self._max_orders_age_s = max_orders_age_s
        self._ids = count(1)
        self._id_prefix = secrets.token_hex(8)

    def new_request_id(self) -> str:
        """An id that no other request of any gateway has."""
        return f"{self._id_prefix}{next(self._ids):08x}"

    def check_orders(self) -> None:
        """Makes sure that there are orders to serve by.

        Raises:
            RefusedError: none arrived yet, or they are older than this gateway may serve by.
        """
        if not self.orders.known:
            raise RefusedError(
                "The gateway has no orders from its control plane yet",
                kind=ErrorKind.UNAVAILABLE,
                code="gateway.no_orders",
            )
        if self._max_orders_age_s is not None and self.orders.age_s() > self._max_orders_age_s:
            raise RefusedError(
                "The gateway's orders are too old to serve by: it has not heard from its control plane",
                kind=ErrorKind.UNAVAILABLE,
                code="gateway.orders_too_old",
            )

    def authenticate(self, credential: bytes | None) -> KeyEntry:
        """The entry of whoever asks.

        Raises:
            RefusedError: there are no orders to know anyone by, or the key is missing, wrong or expired.
        """
        self.check_orders()
        return self._authenticator.authenticate(credential)

    def visible_models(self, key: KeyEntry) -> list[ModelEntry]:
        """The models that a key may know of, by name."""
        return [model for slug, model in sorted(self.orders.models.items()) if may_use(key, slug)]


def check_scope(key: KeyEntry, scope: str) -> None:
    """Makes sure that a key may do something.

    Raises:
        RefusedError: it may not.
    """
    if scope not in key.scopes:
        raise RefusedError(f"This API key lacks the scope '{scope}'", kind=ErrorKind.FORBIDDEN, code="key.scope")
