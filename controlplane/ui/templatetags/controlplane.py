"""How states, times and JSON look on the pages of the admin."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.audit.states import VARIANTS

register = template.Library()
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@register.simple_tag
def badge(state: str, label: str = "") -> SafeString:
    """A state as a coloured word."""
    return format_html('<span class="cp-badge cp-{}">{}</span>', VARIANTS.get(state, "neutral"), label or state)


@register.simple_tag
def ago(at: datetime | None, empty: str = "never") -> SafeString | str:
    """How long ago something was, with the exact time at hand."""
    if at is None:
        return empty
    age_s = (timezone.now() - at).total_seconds()
    exact = timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, _age(age_s))


@register.filter
def duration(seconds: float | None) -> str:
    """A duration in the unit people would choose."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


@register.filter
def pretty(value: Any) -> str:
    """A JSON value for people; the template escapes it."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


@register.filter
def compact(value: Any) -> str:
    """A JSON value on one line; the template escapes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def thousands(number: int) -> str:
    """A count with its thousands apart."""
    return f"{number:,}"


@register.filter
def percent(ratio: float) -> str:
    """A ratio as a percentage; never 100 % while anything is missing."""
    return f"{int(ratio * 10000) / 100:g} %"


def _age(seconds: float) -> str:
    if abs(seconds) < 1:
        return "just now"
    size, unit = next((size, unit) for size, unit in _UNITS if abs(seconds) >= size)
    text = f"{int(abs(seconds) // size)} {unit}"
    return f"{text} ago" if seconds > 0 else f"in {text}"
