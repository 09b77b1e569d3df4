"""Files that people send piece by piece, until they become part of a version."""

from controlplane.registry.uploads.receiving import ByteSource, Checksum, receive_bytes
from controlplane.registry.uploads.selectors import get_upload, list_uploads
from controlplane.registry.uploads.services import create_upload, expire_uploads, terminate_upload, use_upload

__all__ = [
    "ByteSource",
    "Checksum",
    "create_upload",
    "expire_uploads",
    "get_upload",
    "list_uploads",
    "receive_bytes",
    "terminate_upload",
    "use_upload",
]
