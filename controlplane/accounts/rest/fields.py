"""Serializer fields for values that are stored as they come."""

from __future__ import annotations

import math
from typing import Any

from rest_framework import serializers


class StorableJSONField(serializers.JSONField):
    """JSON that every database can store and every client can read back.

    Python's reader lets through what Postgres and strict JSON readers refuse: numbers beyond the range of a double,
    NUL and lone surrogates in strings.
    """

    default_error_messages = {
        "not_finite": "A number in it is not finite.",
        "not_text": "A string in it holds characters that no database stores (NUL or half a surrogate pair).",
        "too_deep": "It is nested too deeply.",
    }

    def to_internal_value(self, data: Any) -> Any:
        """The value, if it can be stored."""
        try:
            value = super().to_internal_value(data)
            self._check(value)
        except RecursionError:
            self.fail("too_deep")
        return value

    def _check(self, value: Any) -> None:
        if isinstance(value, float) and not math.isfinite(value):
            self.fail("not_finite")
        elif isinstance(value, str):
            self._check_text(value)
        elif isinstance(value, list):
            for item in value:
                self._check(item)
        elif isinstance(value, dict):
            for name, item in value.items():
                self._check_text(name)
                self._check(item)

    def _check_text(self, text: str) -> None:
        if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            self.fail("not_text")
