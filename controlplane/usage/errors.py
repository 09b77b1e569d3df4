"""Errors of the usage app."""

from controlplane.wire.errors import ConflictError


class UsageGapError(ConflictError):
    """A batch arrived before one that precedes it."""

    code = "usage.gap"
