"""How names stand in URLs."""

from __future__ import annotations

from django.urls import register_converter


class NameConverter:
    """A name in a path: one segment of printable characters. It does not judge the name; no database takes a NUL."""

    regex = r"[^/\x00-\x1f\x7f]{1,200}"

    def to_python(self, value: str) -> str:
        """The name as it stands in the decoded path."""
        return value

    def to_url(self, value: str) -> str:
        """The name as it is; Django quotes it."""
        return value


register_converter(NameConverter, "name")
