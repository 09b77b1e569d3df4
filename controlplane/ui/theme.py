"""The look of the admin: its name, colours and sidebar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _static(path: str) -> Callable[[HttpRequest], str]:
    return lambda _request: static(path)


def _manages_accounts(request: HttpRequest) -> bool:
    from controlplane.accounts.domain import Permission
    from controlplane.audit.staff_admin import may

    return may(request, Permission.MANAGE_ACCOUNTS)


def _item(title: str, icon: str, name: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(name), **more}


NAVIGATION: list[dict[str, Any]] = [
    {"items": [_item("Overview", "monitoring", "admin:index")]},
    {
        "title": "Models",
        "items": [
            _item("Models", "deployed_code", "admin:registry_registeredmodel_changelist"),
            _item("Versions", "commit", "admin:registry_modelversion_changelist"),
            _item("Publications", "publish", "admin:fleet_publication_changelist"),
        ],
    },
    {
        "title": "Fleet",
        "items": [
            _item("Servers", "dns", "admin:fleet_server_changelist"),
            _item("Pools", "storage", "admin:fleet_pool_changelist"),
            _item("Gateways", "router", "admin:snapshots_gateway_changelist"),
        ],
    },
    {
        "title": "Access",
        "items": [
            _item("API keys", "key", "admin:access_apikey_changelist"),
            _item("Projects", "folder", "admin:access_project_changelist"),
            _item("Organisations", "domain", "admin:access_organisation_changelist"),
            _item("Plans", "speed", "admin:access_plan_changelist"),
        ],
    },
    {
        "title": "Control plane",
        "items": [
            _item("People", "group", "admin:accounts_user_changelist", permission=_manages_accounts),
            _item("Tokens", "token", "admin:accounts_apitoken_changelist"),
            _item("Audit log", "history", "admin:audit_auditevent_changelist"),
            _item("REST API", "api", "swagger"),
        ],
    },
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Triton control plane",
    "SITE_HEADER": "Triton",
    "SITE_SUBHEADER": "Control plane",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": _static("controlplane/favicon.svg")},
    ],
    "SITE_URL": None,
    "BORDER_RADIUS": "6px",
    "STYLES": [_static("controlplane/admin.css")],
    "SCRIPTS": [_static("controlplane/admin.js")],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    # Blue: green, amber and red are the states' own. White on 600 has a contrast of 6:1.
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .19 257.5)",
            "600": "oklch(51% .19 260)",
            "700": "oklch(45% .18 262)",
            "800": "oklch(39% .15 264)",
            "900": "oklch(33% .12 265)",
            "950": "oklch(26% .08 267)",
        },
    },
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": NAVIGATION},
}
