"""Errors of the fleet."""

from controlplane.wire.errors import (
    ConflictError,
    ControlPlaneError,
    ErrorKind,
    InvalidError,
    NotFoundError,
    UnavailableError,
)


class PoolNotFoundError(NotFoundError):
    """There is no such pool."""

    code = "pool.not_found"


class ServerNotFoundError(NotFoundError):
    """There is no such server."""

    code = "server.not_found"


class PublicationNotFoundError(NotFoundError):
    """There is no such publication."""

    code = "publication.not_found"


class InvalidServerError(InvalidError):
    """A server or pool cannot be registered as asked."""

    code = "server.invalid"


class NotPublishableError(ConflictError):
    """The version or the pool is in no state to publish."""

    code = "publication.not_possible"


class TritonUnavailableError(UnavailableError):
    """A Triton does not answer."""

    code = "triton.unavailable"


class TritonRefusedError(ControlPlaneError):
    """A Triton answered with an error."""

    kind = ErrorKind.UPSTREAM
    code = "triton.refused"


class StepFailedError(ControlPlaneError):
    """A step of a publication cannot succeed as things are; the message says why."""

    kind = ErrorKind.CONFLICT
    code = "publication.step_failed"


class PostponedError(ControlPlaneError):
    """A step waits for something that may take long; its worker is given back and the step is run again later."""

    code = "publication.postponed"
