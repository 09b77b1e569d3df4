"""Writes to models, versions and aliases."""

from controlplane.registry.services.aliases import set_alias
from controlplane.registry.services.models import ModelFields, create_model, update_model
from controlplane.registry.services.versions import (
    allocate_number,
    approve_version,
    check_semver,
    check_signature,
    move_version,
    set_deprecation,
    sign_version,
)

__all__ = [
    "ModelFields",
    "allocate_number",
    "approve_version",
    "check_semver",
    "check_signature",
    "create_model",
    "move_version",
    "set_alias",
    "set_deprecation",
    "sign_version",
    "update_model",
]
