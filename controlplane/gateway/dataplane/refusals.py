"""What the data plane answers itself instead of a Triton, and whose doing each refusal is."""

from __future__ import annotations

from typing import Any

from controlplane.wire.errors import ControlPlaneError, ErrorKind
from controlplane.wire.usage import Cause


class RefusedError(ControlPlaneError):
    """A request that ends with an answer of the gateway's own.

    Attributes:
        cause: whose doing it is, for the record of the request.
        status: the HTTP status where HTTP has a better word than the kind's.
        headers: more HTTP headers of the answer, each a complete line.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind,
        code: str,
        cause: Cause = Cause.GATEWAY,
        status: int | None = None,
        headers: tuple[bytes, ...] = (),
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, kind=kind, code=code, details=details)
        self.cause = cause
        self.status = status
        self.headers = headers

    @property
    def http_status(self) -> int:
        """The HTTP status code of this refusal."""
        return self.status or super().http_status


def invalid(message: str, code: str) -> RefusedError:
    """The request is wrong in itself, whatever the model."""
    return RefusedError(message, kind=ErrorKind.INVALID, code=code, cause=Cause.REQUEST)


def unknown_model(name: str, version: str | None = None) -> RefusedError:
    """Triton's own words for a model that is not there; a model the key may not see gets exactly the same."""
    which = f"'{name}'" if version is None else f"'{name}' version {version}"
    return RefusedError(
        f"Request for unknown model: {which} is not found",
        kind=ErrorKind.NOT_FOUND,
        code="model.not_found",
        cause=Cause.REQUEST,
    )


def no_default_version(name: str) -> RefusedError:
    """The model is there, but its default alias points nowhere."""
    return RefusedError(
        f"Request for unknown model: '{name}' has no default version; name a version",
        kind=ErrorKind.NOT_FOUND,
        code="model.no_default_version",
        cause=Cause.REQUEST,
    )


def no_server(name: str, version: int) -> RefusedError:
    """The version is published, but no server has it ready."""
    return RefusedError(
        f"Model '{name}' version {version} is not ready on any server",
        kind=ErrorKind.UNAVAILABLE,
        code="model.not_ready",
        cause=Cause.MODEL,
    )


def too_large(limit_bytes: int) -> RefusedError:
    """The body is larger than the model's declared maximum."""
    return RefusedError(
        f"The request body is larger than the {limit_bytes} bytes allowed for this model",
        kind=ErrorKind.TOO_LARGE,
        code="request.too_large",
        cause=Cause.REQUEST,
    )


def upstream_failed(message: str, code: str, kind: ErrorKind) -> RefusedError:
    """A server did not answer as it should have."""
    return RefusedError(message, kind=kind, code=code, cause=Cause.MODEL)


UNREACHABLE = "No server of this model can be reached"
RESET = "The server closed the connection before it answered; the request may have run and was not sent again"
BROKEN_ANSWER = "The server's answer could not be read"


def timed_out(timeout_s: float) -> RefusedError:
    """The server took longer than the model's time limit."""
    return upstream_failed(
        f"The model did not answer within {timeout_s:g} seconds", "upstream.timeout", ErrorKind.TIMEOUT
    )


def stalled(idle_s: float) -> RefusedError:
    """The server stopped in the middle of its answer."""
    return upstream_failed(
        f"The model's answer stood still for {idle_s:g} seconds", "upstream.stalled", ErrorKind.TIMEOUT
    )


def forbidden(reason: str, code: str) -> RefusedError:
    """Something no client may do through the gateway."""
    return RefusedError(reason, kind=ErrorKind.FORBIDDEN, code=code, cause=Cause.REQUEST)


def not_served(what: str) -> RefusedError:
    """Part of Triton's protocol that this gateway does not speak."""
    return RefusedError(
        f"{what} is not served by this gateway",
        kind=ErrorKind.UNSUPPORTED,
        code="endpoint.not_served",
        cause=Cause.REQUEST,
    )


def control_refused(what: str) -> RefusedError:
    """An endpoint that steers the server itself."""
    return forbidden(
        f"{what} cannot be reached through the gateway: it belongs to the operators of the servers",
        "endpoint.forbidden",
    )


def stopping() -> RefusedError:
    """This process ends before the answer came."""
    return RefusedError("The gateway is being restarted", kind=ErrorKind.UNAVAILABLE, code="gateway.stopping")


def internal() -> RefusedError:
    """A fault of the gateway's own; its log has the details."""
    return RefusedError("The gateway failed to handle this request", kind=ErrorKind.INTERNAL, code="gateway.internal")


def too_slow(what: str) -> RefusedError:
    """A part of the request, its ``head`` or ``body``, is longer under way than anyone waits."""
    return RefusedError(
        f"The request's {what} did not arrive in time",
        kind=ErrorKind.TIMEOUT,
        code=f"request.{what}_timeout",
        cause=Cause.CLIENT,
        status=408,
    )
