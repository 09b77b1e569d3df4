"""Errors of the REST API, all in one form: ``{"error": {"code", "message", "details"}}``."""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from controlplane.wire.errors import HTTP_STATUS, ControlPlaneError, ErrorKind

_CODES = {HTTP_STATUS[kind]: kind.value for kind in (ErrorKind.FORBIDDEN, ErrorKind.NOT_FOUND, ErrorKind.INTERNAL)}
_CODES |= {
    400: "invalid_request",
    401: "unauthorized",
    405: "method_not_allowed",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
}


def handle_exception(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Turns an exception of a view into an answer; None lets Django make a 500 without a trace of its inside."""
    if isinstance(exc, ControlPlaneError):
        set_rollback()
        return Response(exc.as_dict(), status=exc.http_status)
    response = exception_handler(exc, context)
    if response is None:
        return None
    response.data = {"error": _describe(exc, response)}
    return response


def _describe(exc: Exception, response: Response) -> dict[str, Any]:
    code = _CODES.get(response.status_code, "invalid_request")
    if isinstance(exc, exceptions.ValidationError):
        return {"code": code, "message": "The request is not valid; see details.", "details": response.data}
    message = str(getattr(exc, "detail", "")) or "The request was refused."
    return {"code": code, "message": message, "details": {}}
