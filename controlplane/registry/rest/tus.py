"""The words of the tus protocol, version 1.0.0: reading its headers, and what its statuses are.

Source: https://tus.io/protocols/resumable-upload (core; creation, creation-with-upload, expiration, checksum,
termination).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime

from django.utils.http import http_date

from controlplane.registry.errors import (
    DigestMismatchError,
    StoreFullError,
    UploadBrokenOffError,
    UploadBusyError,
    UploadGoneError,
)
from controlplane.registry.models import Upload
from controlplane.registry.uploads import Checksum
from controlplane.wire.errors import ControlPlaneError, InvalidError

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
CHECKSUM_ALGORITHMS = ("sha256", "sha1")
CONTENT_TYPE = "application/offset+octet-stream"
MAX_METADATA_BYTES = 4096

STATUSES: dict[type[ControlPlaneError], int] = {
    UploadGoneError: 410,
    UploadBusyError: 423,
    DigestMismatchError: 460,
    UploadBrokenOffError: 408,
    StoreFullError: 507,
}
"""Where the protocol, or HTTP itself, has a better word than the error's kind."""

_DIGITS = re.compile(r"[0-9]{1,15}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_METADATA = re.compile(r"[\x20-\x7e]*")


class VersionMismatchError(ControlPlaneError):
    """The caller speaks another version of the protocol, or does not say which."""

    code = "upload.protocol_version"

    @property
    def http_status(self) -> int:
        """The status that the protocol demands."""
        return 412


class ContentTypeError(ControlPlaneError):
    """The body is not of the type that the protocol demands."""

    code = "upload.content_type"

    @property
    def http_status(self) -> int:
        """The status that the protocol suggests."""
        return 415


def check_version(headers: Mapping[str, str]) -> None:
    """Lets a request pass that speaks our version.

    Raises:
        VersionMismatchError: it does not.
    """
    if headers.get("Tus-Resumable") != VERSION:
        raise VersionMismatchError(f"Uploads speak tus {VERSION}: send the header Tus-Resumable: {VERSION}.")


def check_content_type(headers: Mapping[str, str]) -> None:
    """Lets a request pass whose body is bytes for an upload.

    Raises:
        ContentTypeError: it is something else.
    """
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise ContentTypeError(f"The bytes of an upload have the Content-Type {CONTENT_TYPE}.")


def read_number(headers: Mapping[str, str], name: str) -> int:
    """The header's value, which must be a non-negative integer.

    Raises:
        InvalidError: it is not there, or none.
    """
    text = headers.get(name, "")
    if not _DIGITS.fullmatch(text):
        raise InvalidError(f"The header {name} must be a non-negative integer.", code="upload.header")
    return int(text)


def read_metadata(headers: Mapping[str, str]) -> tuple[str, dict[str, bytes]]:
    """Upload-Metadata as it came, and as keys with values.

    Raises:
        InvalidError: it is malformed or too long.
    """
    raw = headers.get("Upload-Metadata", "")
    if len(raw) > MAX_METADATA_BYTES or not _METADATA.fullmatch(raw):
        raise InvalidError(f"Upload-Metadata may have {MAX_METADATA_BYTES} printable ASCII characters.", code=_HEADER)
    values: dict[str, bytes] = {}
    for pair in raw.split(",") if raw.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not key or key in values:
            raise InvalidError("Every key of Upload-Metadata must be there once, and none be empty.", code=_HEADER)
        values[key] = _decoded(value, "Upload-Metadata")
    return raw, values


def read_filename(metadata: Mapping[str, bytes]) -> str:
    """The name its sender gave the file: for people, never a path of ours."""
    name = metadata.get("filename", b"").decode("utf-8", errors="replace")
    return "".join(character for character in name if character.isprintable())[:255]


def read_sha256(metadata: Mapping[str, bytes]) -> str:
    """The SHA-256 its sender says the file has, in hexadecimal; empty where none was given.

    Raises:
        InvalidError: it is none.
    """
    if "sha256" not in metadata:
        return ""
    text = metadata["sha256"].decode("latin-1").lower()
    if not _SHA256.fullmatch(text):
        raise InvalidError("The key sha256 of Upload-Metadata must hold 64 hexadecimal digits.", code=_HEADER)
    return text


def read_checksum(headers: Mapping[str, str]) -> Checksum | None:
    """Upload-Checksum, if there is one.

    Raises:
        InvalidError: it is malformed, or of an algorithm we do not know.
    """
    text = headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in CHECKSUM_ALGORITHMS:
        known = ", ".join(CHECKSUM_ALGORITHMS)
        raise InvalidError(f"Checksums are understood in: {known}.", code="upload.checksum_algorithm")
    return Checksum(algorithm, _decoded(value, "Upload-Checksum"))


def headers_of(upload: Upload) -> dict[str, str]:
    """What an answer says of an upload."""
    return {
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.length),
        "Upload-Expires": _http_time(upload.expires_at),
    } | ({"Upload-Metadata": upload.metadata} if upload.metadata else {})


def capabilities(max_bytes: int) -> dict[str, str]:
    """What an answer to OPTIONS says of this server."""
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(max_bytes),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
    }


_HEADER = "upload.header"


def _http_time(moment: datetime) -> str:
    return http_date(moment.timestamp())


def _decoded(value: str, header: str) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        raise InvalidError(f"A value of {header} is not Base64.", code=_HEADER) from None
