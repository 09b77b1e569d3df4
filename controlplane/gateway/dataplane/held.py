"""How much of all requests together this process may hold in memory."""

from __future__ import annotations

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.wire.errors import ErrorKind


class HeldBytes:
    """A bound on bodies that must be read as a whole before they can be checked; what streams through is not held.

    Attributes:
        total: bytes held at this moment.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.total = 0

    def claim(self, size: int) -> None:
        """Takes room for so many bytes more, or gives back where `size` is negative.

        Raises:
            RefusedError: there is no room left; the same request may be sent again.
        """
        if size > 0 and self.total + size > self.limit_bytes:
            raise RefusedError(
                "The gateway holds as many request bodies as it may; send large tensors in binary form, or try again",
                kind=ErrorKind.UNAVAILABLE,
                code="gateway.memory",
                headers=(b"Retry-After: 1\r\n",),
            )
        self.total += size
