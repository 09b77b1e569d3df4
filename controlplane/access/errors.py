"""Errors of the access app."""

from controlplane.wire.errors import InvalidError, NotFoundError


class KeyNotFoundError(NotFoundError):
    """No API key has this id."""

    code = "key.not_found"


class ProjectNotFoundError(NotFoundError):
    """There is no such organisation or project."""

    code = "project.not_found"


class PlanNotFoundError(NotFoundError):
    """There is no such plan."""

    code = "plan.not_found"


class InvalidKeyRequestError(InvalidError):
    """A key cannot be issued as asked."""

    code = "key.invalid_request"
