"""Reading request bodies that may be hostile: what cannot be read is the caller's error, never ours."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any

from django.core.exceptions import SuspiciousOperation
from rest_framework import parsers
from rest_framework.exceptions import APIException, ParseError

from controlplane.wire.errors import HTTP_STATUS, ErrorKind

MAX_JSON_BYTES = 4 * 1024 * 1024


class BodyTooLargeError(APIException):
    """The body is longer than this endpoint reads."""

    status_code = HTTP_STATUS[ErrorKind.TOO_LARGE]
    default_detail = f"A JSON body may have at most {MAX_JSON_BYTES} bytes."
    default_code = "too_large"


class JsonParser(parsers.JSONParser):
    """JSON of bounded size and depth; DRF reads any size, and deep nesting ends in a `RecursionError`."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Reads the body.

        Raises:
            ParseError: it is no JSON, or nested too deeply.
            BodyTooLargeError: it is too long.
        """
        body = stream.read(MAX_JSON_BYTES + 1)
        if len(body) > MAX_JSON_BYTES:
            raise BodyTooLargeError
        try:
            return super().parse(io.BytesIO(body), media_type, dict(parser_context or {}))
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None


class UploadParser(parsers.MultiPartParser):
    """``multipart/form-data``, the form of every upload; files go to disk, not into memory."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Reads the form.

        Raises:
            ParseError: it is malformed, or has more fields, files or text than Django's limits allow.
        """
        try:
            return super().parse(stream, media_type, dict(parser_context or {}))
        except SuspiciousOperation as error:
            raise ParseError(f"Multipart form parse error - {error}") from None
