"""Errors of the snapshots app."""

from controlplane.wire.errors import ConflictError


class LeaseLostError(ConflictError):
    """A controller that thought it led does not."""

    code = "lease.lost"
