"""Triton's statistics, added up over servers and told under public names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LATEST = frozenset({"last_inference", "last_response"})
"""Times, of which the latest counts; every other number adds up."""
_IDENTITY = ("batch_size", "type", "id")
"""What tells the items of a list apart."""


def add_up(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One entry of ``model_stats`` that stands for the same version on several servers.

    Source: Triton's statistics extension: numbers in nested objects, and lists keyed by batch size.
    """
    total: dict[str, Any] = {}
    for entry in entries:
        _add(total, entry)
    return total


def under_public_name(entry: dict[str, Any], slug: str, number: int) -> dict[str, Any]:
    """An entry as a client may see it."""
    return {**entry, "name": slug, "version": str(number)}


def _add(total: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        mine = total.get(name)
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        elif isinstance(value, list):
            total[name] = _add_lists(mine or [], value)
        elif isinstance(value, bool) or not isinstance(value, int | float) or name in _IDENTITY:
            total.setdefault(name, value)
        elif name in LATEST:
            total[name] = max(mine or 0, value)
        else:
            total[name] = (mine or 0) + value


def _add_lists(mine: list[Any], more: list[Any]) -> list[Any]:
    by_identity: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in (*mine, *more):
        if isinstance(item, dict):
            _add(by_identity.setdefault(tuple(item.get(name) for name in _IDENTITY), {}), item)
    return [by_identity[identity] for identity in sorted(by_identity, key=str)]
