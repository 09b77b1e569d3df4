"""Names of models and versions, and the one mapping between the public name and Triton's."""

from __future__ import annotations

import re

SLUG = re.compile(r"(?!.*\.v[0-9]+$)[a-z0-9][a-z0-9._-]{0,99}")
"""A public model name. It cannot end in ``.v<digits>``: that is how a version is called inside Triton."""

ALIAS = re.compile(r"(?!v[0-9]+$)(?!preview$)[a-z][a-z0-9_-]{0,49}")
"""A named pointer to a version. ``preview`` and ``v<digits>`` are reserved."""

SEMVER = re.compile(
    r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})"
    r"(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
"""A version for people (semver.org, 2.0.0)."""


def triton_name(slug: str, number: int) -> str:
    """The model name of one version inside Triton: ``digits`` and 3 give ``digits.v3``."""
    return f"{slug}.v{number}"
