"""``/api/uploads``: sending large files piece by piece, by the tus protocol 1.0.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import IO, Any
from uuid import UUID

from django.http import HttpRequest, QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.rest.views import ControlView, operation
from controlplane.env import control_settings
from controlplane.registry.domain import UploadState
from controlplane.registry.models import Upload
from controlplane.registry.rest import tus
from controlplane.registry.rest.streaming import PATHS, body_of
from controlplane.registry.uploads import create_upload, get_upload, list_uploads, receive_bytes, terminate_upload
from controlplane.registry.uploads.selectors import require_not_gone


class UploadSerializer(serializers.Serializer[Upload]):
    """A file that arrives piece by piece."""

    id = serializers.UUIDField()
    filename = serializers.CharField()
    length = serializers.IntegerField(help_text="How many bytes were announced.")
    offset = serializers.IntegerField(help_text="How many are safely on disk.")
    state = serializers.ChoiceField(choices=UploadState.choices)
    failure = serializers.CharField(help_text="Why it failed.")
    expected_sha256 = serializers.CharField(help_text="What its sender says it will be.")
    sha256 = serializers.CharField(help_text="What it is, once it is complete.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="Until then it waits for its next byte, or for its use.")


def _header(name: str, description: str, *, required: bool = True) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, required, description)


VERSION_HEADER = _header("Tus-Resumable", f"`{tus.VERSION}`")
CHECKSUM_HEADER = _header(
    "Upload-Checksum", "Of this body: `sha256` or `sha1`, a space, the digest in Base64.", required=False
)


class UnreadBody(BaseParser):
    """Leaves the body where it is: views read it piece by piece. Checking a session's CSRF token asks for form data."""

    media_type = "*/*"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> QueryDict:
        """An empty form."""
        return QueryDict()


class TusView(ControlView):
    """A view that speaks the tus protocol, beside JSON."""

    parser_classes = (UnreadBody,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        """None for OPTIONS, by which a stranger may learn what this server can do."""
        return [] if self._is_options else super().get_authenticators()

    def get_permissions(self) -> Sequence[Any]:
        """None for OPTIONS."""
        return [] if self._is_options else super().get_permissions()

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """What this server can do; the version in the request does not matter."""
        headers = tus.capabilities(control_settings().upload_max_bytes)
        return Response(status=HTTPStatus.NO_CONTENT, headers=headers)

    def handle_exception(self, exc: Exception) -> Response:
        """Puts the protocol's own statuses in the place of the general ones."""
        response = super().handle_exception(exc)
        response.status_code = next(
            (status for kind, status in tus.STATUSES.items() if isinstance(exc, kind)), response.status_code
        )
        if isinstance(exc, tus.VersionMismatchError):
            response["Tus-Version"] = tus.VERSION
        return response

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Says in every answer which version it speaks."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Tus-Resumable"] = tus.VERSION
        return response

    @property
    def _is_options(self) -> bool:
        return getattr(self.request, "method", "") == "OPTIONS"


class UploadsView(TusView):
    @operation("uploads_list", UploadSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Your uploads, newest first."""
        return self.page(list_uploads(self.actor), UploadSerializer)

    @operation(
        "uploads_create",
        UploadSerializer,
        status=HTTPStatus.CREATED,
        request={tus.CONTENT_TYPE: OpenApiTypes.BINARY},
        headers=(
            VERSION_HEADER,
            _header("Upload-Length", "The size of the whole file, in bytes."),
            _header(
                "Upload-Metadata",
                "Keys with values in Base64, separated by commas: `filename`, and `sha256` (hexadecimal), which the "
                "file must have when it is complete.",
                required=False,
            ),
            CHECKSUM_HEADER,
        ),
        errors=(400, 412, 413, 415, 429, 507),
    )
    def post(self, request: Request) -> Response:
        """Announces a file (tus *creation*); the answer's `Location` is where its bytes go.

        A body of type `application/offset+octet-stream` is its beginning.
        """
        tus.check_version(request.headers)
        length = tus.read_number(request.headers, "Upload-Length")
        raw, metadata = tus.read_metadata(request.headers)
        has_body = bool(_content_length(request)) or "Transfer-Encoding" in request.headers
        if has_body:
            tus.check_content_type(request.headers)
        checksum = tus.read_checksum(request.headers)
        upload = create_upload(
            self.actor,
            length=length,
            filename=tus.read_filename(metadata),
            metadata=raw,
            expected_sha256=tus.read_sha256(metadata),
        )
        if has_body or length == 0:
            size_bytes = _content_length(request)
            receive_bytes(
                self.actor, upload=upload, offset=0, source=body_of(request), size_bytes=size_bytes, checksum=checksum
            )
        headers = {"Location": f"{PATHS}/{upload.pk}", **tus.headers_of(upload)}
        return Response(UploadSerializer(upload).data, status=HTTPStatus.CREATED, headers=headers)


class UploadView(TusView):
    @operation("uploads_retrieve", UploadSerializer, errors=(404,))
    def get(self, request: Request, upload_id: UUID) -> Response:
        """How far one of your uploads has come. `HEAD` says the same in the headers of the tus protocol."""
        return Response(UploadSerializer(get_upload(self.actor, upload_id)).data)

    def head(self, request: Request, upload_id: UUID) -> Response:
        """Where to go on."""
        tus.check_version(request.headers)
        upload = get_upload(self.actor, upload_id)
        require_not_gone(upload)
        return Response(headers=tus.headers_of(upload))

    @operation(
        "uploads_append",
        None,
        status=HTTPStatus.NO_CONTENT,
        request={tus.CONTENT_TYPE: OpenApiTypes.BINARY},
        headers=(
            VERSION_HEADER,
            _header("Upload-Offset", "Where the body belongs; it must be where the upload has come to."),
            CHECKSUM_HEADER,
        ),
        errors=(400, 404, 408, 409, 410, 412, 413, 415, 423, 460, 507),
    )
    def patch(self, request: Request, upload_id: UUID) -> Response:
        """Sends bytes (tus *core*). What arrived is kept, also of a request that breaks off.

        With the last byte the file is read once more for its SHA-256, before the answer comes. Where that answer was
        lost, an empty body at the end brings it again. One request at a time may write: others get 423.
        """
        tus.check_version(request.headers)
        tus.check_content_type(request.headers)
        offset = tus.read_number(request.headers, "Upload-Offset")
        checksum = tus.read_checksum(request.headers)
        upload = receive_bytes(
            self.actor,
            upload=get_upload(self.actor, upload_id),
            offset=offset,
            source=body_of(request),
            size_bytes=_content_length(request),
            checksum=checksum,
        )
        headers = tus.headers_of(upload)
        return Response(status=HTTPStatus.NO_CONTENT, headers=headers)

    @operation("uploads_delete", None, status=HTTPStatus.NO_CONTENT, headers=(VERSION_HEADER,), errors=(404, 412, 423))
    def delete(self, request: Request, upload_id: UUID) -> Response:
        """Forgets an upload and its bytes (tus *termination*). A version made of it stays."""
        tus.check_version(request.headers)
        terminate_upload(self.actor, upload=get_upload(self.actor, upload_id))
        return Response(status=HTTPStatus.NO_CONTENT)


def _content_length(request: Request) -> int | None:
    text = request.META.get("CONTENT_LENGTH") or ""
    return int(text) if text.isdecimal() else None
