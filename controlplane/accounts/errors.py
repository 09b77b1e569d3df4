"""Errors of the accounts app."""

from controlplane.wire.errors import ConflictError, UnauthenticatedError


class InvalidTokenError(UnauthenticatedError):
    """A token is malformed, unknown, expired or revoked; which of these is not told."""

    code = "token.invalid"


class LastOwnerError(ConflictError):
    """Nobody would be left who can manage accounts."""

    code = "user.last_owner"
