"""What all pages of the admin have in common.

It lies in the lowest app because the admin of every app stands on it. Permissions are those of the actor, not Django's
per-model ones; rows are read here and written by services only; nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin as UnfoldModelAdmin
from unfold.decorators import action as unfold_action
from unfold.decorators import display as unfold_display
from unfold.enums import ActionVariant

from controlplane.audit.domain import Actor
from controlplane.audit.staff_forms import StepForm
from controlplane.audit.states import VARIANTS
from controlplane.wire.errors import ControlPlaneError

M = TypeVar("M", bound=Model)
F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:

    class _ModelAdmin(admin.ModelAdmin[M]):
        def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]: ...

else:

    class _ModelAdmin(UnfoldModelAdmin):
        def __class_getitem__(cls, _model: type[Model]) -> type:
            return cls


def column(
    description: str, *, ordering: str | None = None, label: bool = False, header: bool = False
) -> Callable[[F], F]:
    """Makes a method a column of a list or a field of a page.

    Args:
        description: the column's title.
        ordering: what the list sorts by.
        label: show the value, a state, as a badge.
        header: the value is (title, subtitle).
    """
    decorate = unfold_display(
        description=description, ordering=ordering, label=VARIANTS if label else None, header=header or None
    )
    return cast(Callable[[F], F], decorate)


def page_action(
    description: str, *, path: str, permissions: Iterable[str], icon: str = "", variant: str = "default"
) -> Callable[[F], F]:
    """Makes a method a page of its own that an object's page, or a list, links to by a button.

    Args:
        description: the button's text.
        path: the last part of the page's address.
        permissions: ``x`` asks the admin's ``has_x_permission``.
        icon: a Material symbol.
        variant: the button's colour.
    """
    decorate = unfold_action(
        description=description, url_path=path, permissions=list(permissions), icon=icon, variant=ActionVariant(variant)
    )
    return cast(Callable[[F], F], decorate)


def actor_of_staff(request: HttpRequest) -> Actor:
    """The actor behind a request of the admin."""
    return cast(Actor, cast(Any, request.user).as_actor(request.META.get("REMOTE_ADDR", "")))


def may(request: HttpRequest, permission: str) -> bool:
    """Whether whoever sent a request is staff with a permission."""
    user = request.user
    return user.is_authenticated and user.is_active and user.is_staff and actor_of_staff(request).may(permission)


@dataclass(frozen=True)
class Step:
    """A page that asks for the input of one service call, or for a confirmation.

    Attributes:
        title: its heading, which names the object.
        form: the input.
        submit: the button's text.
        back: where Cancel leads.
        intro: what will happen, in a sentence or two.
        danger: the step cannot be taken back.
        hidden: fields to send again, e.g. the chosen rows of a list action.
    """

    title: str
    form: BaseForm
    submit: str
    back: str
    intro: str = ""
    danger: bool = False
    hidden: tuple[tuple[str, str], ...] = ()


class Snippet(NamedTuple):
    """A piece of code to copy."""

    title: str
    text: str


class StaffAdmin(_ModelAdmin[M]):
    """Pages of one kind of object: read here, written by services, never deleted."""

    view_permission: str = "view"
    add_permission: str | None = None
    add_text: str = "Add"
    empty_text: str = ""
    list_per_page = 50
    compressed_fields = True
    change_form_show_cancel_button = True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever has `view_permission`."""
        return may(request, self.view_permission)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever has `add_permission`."""
        return self.add_permission is not None and may(request, self.add_permission)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: changes are steps, each a page of its own that calls a service."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        """As for viewing."""
        return self.has_view_permission(request)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: services write the audit log."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: services write the audit log."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """The object's part of the audit log."""
        query = urlencode({"object_type": self.model._meta.label_lower, "object_id": object_id})
        return HttpResponseRedirect(f"{reverse('admin:audit_auditevent_changelist')}?{query}")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """The step that makes an object, for those who may."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self.add_step(request)

    def add_step(self, request: HttpRequest) -> HttpResponse:
        """What `add_view` shows; admins with an `add_permission` define it."""
        raise NotImplementedError

    def page_context(self, request: HttpRequest, obj: M) -> dict[str, Any]:
        """What the template of an object's page needs besides the object."""
        return {}

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Adds `page_context`, and titles the page by its object."""
        if (obj := kwargs.get("obj")) is not None:
            context |= {"title": str(obj), "subtitle": None, **self.page_context(request, obj)}
        return super().render_change_form(request, context, *args, **kwargs)

    def offered_actions(self, obj: M) -> Iterable[str]:
        """Names of the `actions_detail` that make sense for an object in its state."""
        return cast(Iterable[str], cast(Any, self).actions_detail)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """The buttons of an object's page: those its state and the person's permissions allow."""
        obj = self.get_object(request, object_id)
        offered = set(self.offered_actions(obj)) if obj is not None else set()
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        actions = super().get_actions_detail(request, object_id)
        return [action for action in actions if action.action_name.removeprefix(prefix) in offered]

    def require_object(self, request: HttpRequest, object_id: str) -> M:
        """The object of a page, for those who may see it.

        Raises:
            Http404: there is none.
        """
        found = self.get_object(request, object_id)
        if found is None or not self.has_view_permission(request, found):
            raise Http404
        return found

    def page_of(self, obj: Model) -> str:
        """The address of an object's page."""
        return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])

    def list_page(self) -> str:
        """The address of the list."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def take_step(
        self, request: HttpRequest, step: Step, run: Callable[[dict[str, Any]], HttpResponse]
    ) -> HttpResponse:
        """Shows a step; when it was submitted and is valid, runs it. A refusal of the service is an error of the form.

        Args:
            request: the request.
            step: what to show.
            run: takes the form's cleaned data, calls the service and says what comes next.
        """
        form = step.form
        findings: list[dict[str, str]] = []
        if form.is_bound and form.is_valid():
            try:
                return run(cast(Any, form).cleaned_data)
            except ControlPlaneError as error:
                cast(Any, form).add_error(None, error.message)
                findings = error.details.get("findings", [])
        context = {
            **self.admin_site.each_context(request),
            "title": step.title,
            "opts": self.opts,
            "step": step,
            "form": form,
            "findings": findings,
        }
        return TemplateResponse(request, "controlplane/step.html", context, status=400 if form.is_bound else 200)

    def confirm(
        self,
        request: HttpRequest,
        obj: M,
        run: Callable[[], str],
        *,
        title: str,
        submit: str,
        intro: str,
        danger: bool = False,
    ) -> HttpResponse:
        """A step without input on an object: asks, runs it, says what `run` returned and goes back to the object."""
        back = self.page_of(obj)

        def run_and_return(_data: dict[str, Any]) -> HttpResponse:
            messages.success(request, run())
            return HttpResponseRedirect(back)

        step = Step(title, StepForm.of(request), submit, back, intro, danger)
        return self.take_step(request, step, run_and_return)

    def show_secret(
        self, request: HttpRequest, secret: str, *, title: str, about: str, obj: Model, snippets: Iterable[Snippet] = ()
    ) -> HttpResponse:
        """Shows a new secret in the answer to the very request that made it: it is stored nowhere on the way."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "secret": secret,
            "about": about,
            "snippets": list(snippets),
            "done": self.page_of(obj),
        }
        response = TemplateResponse(request, "controlplane/secret.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    def run_each(self, request: HttpRequest, objects: Iterable[M], run: Callable[[M], Any], done: str) -> None:
        """Runs a service on each chosen row; what is refused becomes a message, the rest goes on."""
        succeeded = 0
        for obj in objects:
            try:
                run(obj)
            except ControlPlaneError as error:
                messages.error(request, f"{obj}: {error.message}")
            else:
                succeeded += 1
        if succeeded:
            messages.success(request, f"{done}: {succeeded}.")
