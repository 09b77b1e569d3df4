"""The kinds of failure that may cross a process boundary, and what each protocol says for them.

An error is a kind, a stable code (``model.not_found``), a message for a person and details for a program. Kinds are few
because protocols have few words; codes are many because people search for them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorKind(StrEnum):
    """What went wrong, in the terms every protocol has a word for."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    LIMITED = "limited"
    UNSUPPORTED = "unsupported"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


HTTP_STATUS: dict[ErrorKind, int] = {
    ErrorKind.INVALID: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.LIMITED: 429,
    ErrorKind.UNSUPPORTED: 501,
    ErrorKind.CANCELLED: 499,
    ErrorKind.TIMEOUT: 504,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.UPSTREAM: 502,
    ErrorKind.INTERNAL: 500,
}

# Numbers of google.rpc.Code, so that this module needs no gRPC.
GRPC_STATUS: dict[ErrorKind, int] = {
    ErrorKind.INVALID: 3,
    ErrorKind.UNAUTHENTICATED: 16,
    ErrorKind.FORBIDDEN: 7,
    ErrorKind.NOT_FOUND: 5,
    ErrorKind.CONFLICT: 10,
    ErrorKind.TOO_LARGE: 8,
    ErrorKind.LIMITED: 8,
    ErrorKind.UNSUPPORTED: 12,
    ErrorKind.CANCELLED: 1,
    ErrorKind.TIMEOUT: 4,
    ErrorKind.UNAVAILABLE: 14,
    ErrorKind.UPSTREAM: 14,
    ErrorKind.INTERNAL: 13,
}

GRPC_AS_HTTP: dict[int, int] = {
    0: 200,
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
"""The HTTP status that a gRPC status amounts to. Source: google/rpc/code.proto."""


class ControlPlaneError(Exception):
    """The root of every error this project raises on purpose.

    Attributes:
        kind: decides the status code in each protocol.
        code: stable and searchable, ``noun.reason`` in lower case.
        message: one sentence for a person that says what to do where that is known; never a path, secret or trace.
        details: JSON values for a program.
    """

    kind: ErrorKind = ErrorKind.INTERNAL
    code: str = "internal"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        kind: ErrorKind | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.kind = kind or type(self).kind
        self.details = details or {}

    @property
    def http_status(self) -> int:
        """The HTTP status code of this error's kind."""
        return HTTP_STATUS[self.kind]

    @property
    def grpc_status(self) -> int:
        """The number of the gRPC status code of this error's kind."""
        return GRPC_STATUS[self.kind]

    def as_dict(self) -> dict[str, Any]:
        """The body that ``/v1`` and ``/api`` answer with: ``{"error": {"code", "message", "details"}}``."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


class InvalidError(ControlPlaneError):
    """The caller sent something that can never work; the message says what to change."""

    kind = ErrorKind.INVALID
    code = "invalid"


class NotFoundError(ControlPlaneError):
    """What the caller names does not exist, or must not be known to this caller."""

    kind = ErrorKind.NOT_FOUND
    code = "not_found"


class ConflictError(ControlPlaneError):
    """The state changed under the caller, or does not allow the step; reading again shows why."""

    kind = ErrorKind.CONFLICT
    code = "conflict"


class ForbiddenError(ControlPlaneError):
    """The caller is known and may not do this."""

    kind = ErrorKind.FORBIDDEN
    code = "forbidden"


class UnauthenticatedError(ControlPlaneError):
    """The caller is not known."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "unauthorized"


class UnavailableError(ControlPlaneError):
    """Something this step depends on does not answer; the same call may work later."""

    kind = ErrorKind.UNAVAILABLE
    code = "unavailable"
