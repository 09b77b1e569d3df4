"""Imports that workers carry out: of uploads, and of files that lie on the server."""

from controlplane.registry.import_jobs.runner import run_import
from controlplane.registry.import_jobs.services import (
    NewImport,
    cancel_import,
    get_import,
    hand_out_imports,
    list_imports,
    request_import,
    retry_import,
)

__all__ = [
    "NewImport",
    "cancel_import",
    "get_import",
    "hand_out_imports",
    "list_imports",
    "request_import",
    "retry_import",
    "run_import",
]
