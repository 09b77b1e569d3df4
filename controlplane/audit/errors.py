"""Errors of the audit app."""

from controlplane.wire.errors import ForbiddenError


class PermissionMissingError(ForbiddenError):
    """An actor lacks the permission a service demands."""

    code = "permission.missing"
