"""Gateways in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from controlplane.audit.staff_admin import StaffAdmin, column
from controlplane.snapshots.models import Gateway
from controlplane.snapshots.selectors import gateway_state, gateways_with_head


@admin.register(Gateway)
class GatewayAdmin(StaffAdmin[Gateway]):
    empty_text = "A gateway appears here when it fetches its orders for the first time. Issue it a token first."
    list_display = ("name", "state", "revision_column", "release", "address", "seen_at")
    list_select_related = ("token",)
    search_fields = ("name", "address", "release")
    fields = (
        ("name", "state"),
        ("revision_column", "release"),
        ("address", "token"),
        ("first_seen_at", "seen_at"),
    )
    readonly_fields = ("state", "revision_column")

    @column("State", label=True)
    def state(self, gateway: Gateway) -> str:
        return gateway_state(gateway)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Gateway]:
        return gateways_with_head()

    @column("Revision", ordering="revision")
    def revision_column(self, gateway: Any) -> str:
        behind = gateway.head - gateway.revision
        return f"{gateway.revision}, {behind} behind" if behind > 0 else f"{gateway.revision}, up to date"
