"""Every kind of error has a word in every protocol."""

from __future__ import annotations

from http import HTTPStatus

import grpc
import pytest

from controlplane.wire.errors import GRPC_AS_HTTP, GRPC_STATUS, HTTP_STATUS, ErrorKind, NotFoundError

GRPC_CODES = {code.value[0] for code in grpc.StatusCode}
CLIENT_CLOSED_REQUEST = 499  # nginx' word for a client that left; HTTP has none


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_is_mapped(kind: ErrorKind) -> None:
    assert HTTP_STATUS[kind] == CLIENT_CLOSED_REQUEST or HTTPStatus(HTTP_STATUS[kind]) >= HTTPStatus.BAD_REQUEST
    assert GRPC_STATUS[kind] in GRPC_CODES - {0}


def test_every_grpc_status_amounts_to_an_http_status() -> None:
    assert set(GRPC_AS_HTTP) == GRPC_CODES


def test_an_error_tells_its_code_message_and_details() -> None:
    error = NotFoundError("There is no model 'x'.", code="model.not_found", details={"slug": "x"})
    assert (error.http_status, error.grpc_status) == (404, 5)
    assert error.as_dict() == {
        "error": {"code": "model.not_found", "message": "There is no model 'x'.", "details": {"slug": "x"}}
    }
