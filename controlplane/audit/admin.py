"""The audit log in the admin."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from controlplane.audit.models import AuditEvent
from controlplane.audit.staff_admin import StaffAdmin, column

_FIELDS = ("id", "at", "actor", "action", "object_type", "object_id", "object_label", "before", "after", "address")
EXPORT_LIMIT = 50_000
"""Events in one export, newest first: it is built in memory."""


@admin.register(AuditEvent)
class AuditEventAdmin(StaffAdmin[AuditEvent]):
    list_display = ("at", "actor", "what", "object_column", "address")
    list_display_links = ("at", "what")
    list_filter = ("action", "object_type", "at")
    search_fields = ("actor", "action", "object_label", "object_id")
    search_help_text = "Actor, action or object"
    actions = ("export_csv",)
    show_full_result_count = False  # it only grows
    change_form_template = "controlplane/audit_event.html"
    fields = ("at",)

    @column("Action", ordering="action", label=True)
    def what(self, event: AuditEvent) -> str:
        return event.action

    @column("Object", ordering="object_label", header=True)
    def object_column(self, event: AuditEvent) -> tuple[str, str]:
        return event.object_label, event.object_type

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> HttpResponse:
        return HttpResponse(
            _as_csv(queryset.order_by("-id")[:EXPORT_LIMIT]),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit-log.csv"'},
        )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "object_id" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def page_context(self, request: HttpRequest, obj: AuditEvent) -> dict[str, Any]:
        return {"changes": changes_of(obj)}


def changes_of(event: AuditEvent) -> list[tuple[str, Any, Any]]:
    """(field, before, after) of an event, in the order of their names; None where a side does not know the field."""
    names = sorted({*event.before, *event.after})
    return [(name, event.before.get(name), event.after.get(name)) for name in names]


def _as_csv(events: Iterable[AuditEvent]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_FIELDS)
    writer.writerows([_cell(getattr(event, name)) for name in _FIELDS] for event in events)
    return text.getvalue()


def _cell(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    # A spreadsheet would run such a cell as a formula, and parts of an event come from outside.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
