"""Organisations, projects, plans and API keys in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from controlplane.access.domain import ALL_SCOPES, Scope
from controlplane.access.models import ApiKey, Organisation, Plan, Project
from controlplane.access.selectors import list_keys
from controlplane.access.services import IssuedKey, issue_api_key, revoke_api_key
from controlplane.access.snippets import snippets_for
from controlplane.accounts.domain import Permission
from controlplane.audit.staff_admin import StaffAdmin, Step, actor_of_staff, column, may, page_action
from controlplane.audit.staff_forms import LocalDateTimeInput, StepForm


@admin.register(Organisation)
class OrganisationAdmin(StaffAdmin[Organisation]):
    list_display = ("slug", "name", "state", "projects", "created_at")
    search_fields = ("slug", "name")
    fields = (("slug", "name"), "state", "created_at")
    readonly_fields = ("state",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organisation]:
        return super().get_queryset(request).annotate(project_count=Count("projects"))

    @column("State", label=True)
    def state(self, organisation: Organisation) -> str:
        return "suspended" if organisation.suspended_at else "active"

    @column("Projects", ordering="project_count")
    def projects(self, organisation: Any) -> int:
        return int(organisation.project_count)


@admin.register(Project)
class ProjectAdmin(StaffAdmin[Project]):
    list_display = ("slug", "organisation", "name", "state", "active_keys", "created_at")
    list_select_related = ("organisation",)
    list_filter = ("organisation",)
    search_fields = ("slug", "name", "organisation__slug")
    fields = (("slug", "name"), ("organisation", "state"), "created_at")
    readonly_fields = ("state",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        active = Count("keys", filter=Q(keys__revoked_at=None))
        return super().get_queryset(request).annotate(key_count=active)

    @column("State", label=True)
    def state(self, project: Project) -> str:
        return "suspended" if project.suspended_at else "active"

    @column("Keys in use", ordering="key_count")
    def active_keys(self, project: Any) -> int:
        return int(project.key_count)


@admin.register(Plan)
class PlanAdmin(StaffAdmin[Plan]):
    list_display = ("slug", "title", "description", "active_keys")
    search_fields = ("slug", "title")
    fields = (("slug", "title"), "description")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        return super().get_queryset(request).annotate(key_count=Count("keys", filter=Q(keys__revoked_at=None)))

    @column("Keys in use", ordering="key_count")
    def active_keys(self, plan: Any) -> int:
        return int(plan.key_count)


class KeyStateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Active"), ("soon", "Expires within 7 days"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        now = timezone.now()
        usable = queryset.filter(revoked_at=None)
        chosen = {
            "active": usable.filter(Q(expires_at=None) | Q(expires_at__gt=now)),
            "soon": usable.filter(expires_at__gt=now, expires_at__lte=now + timedelta(days=7)),
            "expired": usable.filter(expires_at__lte=now),
            "revoked": queryset.exclude(revoked_at=None),
        }
        return chosen.get(self.value() or "", queryset)


class KeyForm(StepForm):
    label = forms.CharField(max_length=200, help_text="What people know it by, e.g. “checkout service”.")
    project = forms.ModelChoiceField(
        Project.objects.select_related("organisation"), help_text="Whose use it counts as."
    )
    plan = forms.ModelChoiceField(Plan.objects.all(), help_text="The tier whose limits apply.")
    environment = forms.CharField(
        max_length=16,
        initial="live",
        help_text="Part of the key that tells a person what it is for: live, test, local.",
    )
    models = forms.CharField(
        initial="*", help_text="Names of the models it may use, separated by spaces; * matches any run of characters."
    )
    scopes = forms.MultipleChoiceField(choices=Scope.choices, initial=ALL_SCOPES, widget=forms.CheckboxSelectMultiple)
    owner = forms.CharField(max_length=200, required=False, help_text="Who answers for it.")
    expires_at = forms.DateTimeField(
        required=False, widget=LocalDateTimeInput, label="Expires (UTC)", help_text="Empty: never."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("project", "plan"):  # most control planes have one of each
            field = self.fields[name]
            choices = list(field.queryset[:2])  # type: ignore[attr-defined]
            if len(choices) == 1:
                field.initial = choices[0].pk


class RevokeForm(StepForm):
    reason = forms.CharField(max_length=300, help_text="Stays with the key and in the audit log.")


@admin.register(ApiKey)
class ApiKeyAdmin(StaffAdmin[ApiKey]):
    add_permission = Permission.MANAGE_KEYS
    add_text = "Issue an API key"
    empty_text = "Clients of the gateway need a key; it is shown once, when it is issued."
    list_display = ("label", "key_id", "project", "plan", "state_column", "models", "expires_at", "last_used_at")
    list_filter = (KeyStateFilter, "plan", "project__organisation", "environment")
    search_fields = ("label", "key_id", "owner", "project__slug", "project__organisation__slug")
    search_help_text = "Label, id, owner or project"
    fieldsets = (
        (None, {"fields": (("label", "key_id"), ("state_column", "environment"), ("project", "plan"), "owner")}),
        ("What it opens", {"fields": (("models", "scope_list"),)}),
        (
            "History",
            {
                "fields": (
                    ("created_at", "created_by"),
                    ("expires_at", "last_used_at"),
                    ("revoked_at", "revoked_reason"),
                )
            },
        ),
    )
    readonly_fields = ("state_column", "models", "scope_list")
    actions_detail = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return list_keys().defer("digest")

    @column("State", label=True)
    def state_column(self, key: ApiKey) -> str:
        return key.state

    @column("Models")
    def models(self, key: ApiKey) -> str:
        return ", ".join(key.model_patterns)

    @column("Scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    def has_manage_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may(request, Permission.MANAGE_KEYS)

    def offered_actions(self, obj: ApiKey) -> Iterable[str]:
        return () if obj.revoked_at else ("revoke",)

    def add_step(self, request: HttpRequest) -> HttpResponse:
        def run(data: dict[str, Any]) -> HttpResponse:
            issued = issue_api_key(
                actor_of_staff(request),
                project=data["project"],
                plan=data["plan"],
                label=data["label"],
                environment=data["environment"],
                owner=data["owner"],
                scopes=tuple(data["scopes"]),
                models=tuple(data["models"].replace(",", " ").split()),
                expires_at=data["expires_at"],
            )
            return self._show(request, issued)

        intro = "The key is shown once, on the next page; the gateways know it within a second."
        step = Step("Issue an API key", KeyForm.of(request), "Issue key", self.list_page(), intro)
        return self.take_step(request, step, run)

    def _show(self, request: HttpRequest, issued: IssuedKey) -> HttpResponse:
        about = f"For {issued.key.project}, plan {issued.key.plan}. Send it as a Bearer token or in X-API-Key."
        return self.show_secret(
            request,
            issued.secret,
            title=f"API key {issued.key.label}",
            about=about,
            obj=issued.key,
            snippets=snippets_for(issued),
        )

    @page_action("Revoke", path="revoke", permissions=["manage"], icon="block", variant="danger")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.require_object(request, object_id)

        def run(data: dict[str, Any]) -> HttpResponse:
            revoke_api_key(actor_of_staff(request), key=key, reason=data["reason"])
            messages.success(request, f"{key.label} is revoked; every gateway refuses it within a second.")
            return HttpResponseRedirect(self.page_of(key))

        step = Step(
            f"Revoke {key.label}",
            RevokeForm.of(request),
            "Revoke key",
            self.page_of(key),
            "Clients that hold it are refused within a second. This cannot be taken back.",
            danger=True,
        )
        return self.take_step(request, step, run)
