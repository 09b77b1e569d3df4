"""People and tokens in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from controlplane.accounts.domain import Permission, Role, TokenScope, permissions_of
from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.selectors import list_tokens
from controlplane.accounts.services import create_user, issue_token, revoke_token, set_password, update_user
from controlplane.audit.staff_admin import StaffAdmin, Step, actor_of_staff, column, may, page_action
from controlplane.audit.staff_forms import LocalDateTimeInput, StepForm

# Roles replace Django's groups.
admin.site.unregister(Group)

_ROLE_HELP = "Each role may do all that the one before it may: " + " → ".join(Role.labels) + "."


class RoleForm(StepForm):
    role = forms.ChoiceField(choices=Role.choices, help_text=_ROLE_HELP)
    active = forms.BooleanField(required=False, label="May sign in")


class PasswordForm(StepForm):
    password = forms.CharField(widget=forms.PasswordInput, strip=False, label="New password")
    repeated = forms.CharField(widget=forms.PasswordInput, strip=False, label="The same again")

    def __init__(self, *args: Any, user: User | None = None, **kwargs: Any) -> None:
        self._user = user
        super().__init__(*args, **kwargs)

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password, self._user)
        return password

    def clean_repeated(self) -> str:
        repeated: str = self.cleaned_data["repeated"]
        if "password" in self.cleaned_data and repeated != self.cleaned_data["password"]:
            raise forms.ValidationError("The two passwords differ.")
        return repeated


class NewUserForm(PasswordForm):
    username = forms.CharField(max_length=150, validators=[User.username_validator])
    role = forms.ChoiceField(choices=Role.choices, help_text=_ROLE_HELP)
    field_order = ("username", "role", "password", "repeated")

    def clean_username(self) -> str:
        username: str = self.cleaned_data["username"]
        if User.objects.filter(username=username).exists():
            raise forms.ValidationError("There is somebody with this name already.")
        return username


@admin.register(User)
class UserAdmin(StaffAdmin[User]):
    add_text = "Add a person"
    view_permission = Permission.MANAGE_ACCOUNTS
    add_permission = Permission.MANAGE_ACCOUNTS
    list_display = ("username", "role_column", "state", "last_login", "date_joined")
    list_filter = ("role", "is_active")
    search_fields = ("username", "email", "first_name", "last_name")
    fieldsets = (
        (None, {"fields": (("username", "email"), ("role_column", "state"), "grants")}),
        ("Dates", {"fields": (("last_login", "date_joined"),)}),
    )
    readonly_fields = ("role_column", "state", "grants")
    actions_detail = ("change_role", "change_password")

    @column("Role", ordering="role")
    def role_column(self, user: User) -> str:
        return "Owner (superuser)" if user.is_superuser else Role(user.role).label

    @column("State", ordering="is_active", label=True)
    def state(self, user: User) -> str:
        return "active" if user.is_active else "deactivated"

    @column("May")
    def grants(self, user: User) -> str:
        granted = permissions_of(Role.OWNER if user.is_superuser else user.role)
        return "\n".join(permission.label for permission in Permission if permission in granted)

    def has_manage_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may(request, Permission.MANAGE_ACCOUNTS)

    def add_step(self, request: HttpRequest) -> HttpResponse:
        def run(data: dict[str, Any]) -> HttpResponse:
            user = create_user(
                actor_of_staff(request),
                username=data["username"],
                password=data["password"],
                role=Role(data["role"]),
            )
            messages.success(request, f"{user.username} can sign in now.")
            return HttpResponseRedirect(self.page_of(user))

        step = Step("Add a person", NewUserForm.of(request), "Add", self.list_page())
        return self.take_step(request, step, run)

    @page_action("Change role", path="role", permissions=["manage"], icon="badge")
    def change_role(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.require_object(request, object_id)

        def run(data: dict[str, Any]) -> HttpResponse:
            update_user(actor_of_staff(request), user=user, role=Role(data["role"]), active=data["active"])
            messages.success(request, f"{user.username} is {Role(user.role).label.lower()} now.")
            return HttpResponseRedirect(self.page_of(user))

        form = RoleForm.of(request, initial={"role": user.role, "active": user.is_active})
        return self.take_step(request, Step(f"Role of {user.username}", form, "Save", self.page_of(user)), run)

    @page_action("Set password", path="set-password", permissions=["manage"], icon="password")
    def change_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.require_object(request, object_id)

        def run(data: dict[str, Any]) -> HttpResponse:
            set_password(actor_of_staff(request), user=user, password=data["password"])
            messages.success(request, f"{user.username} has a new password; open sessions have ended.")
            return HttpResponseRedirect(self.page_of(user))

        form = PasswordForm.of(request, user=user)
        return self.take_step(
            request, Step(f"Password of {user.username}", form, "Set password", self.page_of(user)), run
        )


class TokenForm(StepForm):
    name = forms.CharField(max_length=100, help_text="What will use it: ci, laptop, gateway-eu-1.")
    scope = forms.ChoiceField(choices=TokenScope.choices)
    expires_at = forms.DateTimeField(required=False, widget=LocalDateTimeInput, label="Expires (UTC)")


@admin.register(ApiToken)
class ApiTokenAdmin(StaffAdmin[ApiToken]):
    add_permission = Permission.VIEW
    add_text = "Issue a token"
    empty_text = "A token opens the REST API and tritonctl, with your permissions."
    list_display = ("name", "token_id", "scope", "state", "user", "expires_at", "last_used_at")
    list_filter = ("scope",)
    search_fields = ("name", "token_id", "user__username")
    fieldsets = (
        (None, {"fields": (("name", "scope"), ("token_id", "state"), "user")}),
        ("Dates", {"fields": (("created_at", "expires_at"), ("last_used_at", "revoked_at"))}),
    )
    readonly_fields = ("state",)
    actions_detail = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Everybody's for those who manage accounts, else one's own."""
        return list_tokens(of_user=None if may(request, Permission.MANAGE_ACCOUNTS) else request.user.pk)

    @column("State", label=True)
    def state(self, token: ApiToken) -> str:
        if token.revoked_at is not None:
            return "revoked"
        return "usable" if token.usable else "expired"

    def offered_actions(self, obj: ApiToken) -> Iterable[str]:
        return () if obj.revoked_at else ("revoke",)

    def add_step(self, request: HttpRequest) -> HttpResponse:
        def run(data: dict[str, Any]) -> HttpResponse:
            scope = TokenScope(data["scope"])
            issued = issue_token(
                actor_of_staff(request),
                name=data["name"],
                scope=scope,
                user=None if scope == TokenScope.GATEWAY else cast(User, request.user),
                expires_at=data["expires_at"],
            )
            about = (
                "Save it as the file gateway_token in the gateway's secrets folder."
                if scope == TokenScope.GATEWAY
                else "It acts with your permissions: export ADMIN_TOKEN for tritonctl, or send it as a Bearer token."
            )
            return self.show_secret(
                request, issued.secret, title=f"Token {issued.token.name}", about=about, obj=issued.token
            )

        intro = "A control token acts for you in the REST API; a gateway token lets one gateway fetch its orders."
        return self.take_step(
            request, Step("Issue a token", TokenForm.of(request), "Issue", self.list_page(), intro), run
        )

    @page_action("Revoke", path="revoke", permissions=["view"], icon="block", variant="danger")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        token = self.require_object(request, object_id)

        def run() -> str:
            revoke_token(actor_of_staff(request), token=token)
            return f"Token {token.name} opens nothing any more."

        return self.confirm(
            request,
            token,
            run,
            title=f"Revoke token {token.name}",
            submit="Revoke",
            intro="Whatever uses it is refused from the next request on. This cannot be taken back.",
            danger=True,
        )
