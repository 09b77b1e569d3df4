"""How the states of everything look; apart from the admin, because template tags load before it."""

from __future__ import annotations

VARIANTS: dict[str, str] = {
    **dict.fromkeys(("live", "ready", "published", "succeeded", "done", "active", "ok", "usable"), "success"),
    **dict.fromkeys(("down", "failed", "lost", "error"), "danger"),
    **dict.fromkeys(
        ("cordoned", "unknown", "expired", "silent", "behind", "cancelled", "warning", "postponed"), "warning"
    ),
    **dict.fromkeys(("running", "loading", "queued"), "primary"),
    **dict.fromkeys(("validated", "signed", "approved", "info"), "info"),
}
"""The colour of each state, the same on every page; others are grey. The state's word always stands with it."""
