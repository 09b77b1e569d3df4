"""Pools, servers and publications in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from controlplane.accounts.domain import Permission
from controlplane.audit.staff_admin import StaffAdmin, Step, actor_of_staff, column, may, page_action
from controlplane.audit.staff_forms import StepForm
from controlplane.fleet.domain import OPEN_STATES, Health, PlacementState, PublicationState, ServerState
from controlplane.fleet.models import Pool, Publication, Server
from controlplane.fleet.selectors import pipeline_of
from controlplane.fleet.services import (
    cancel_publication,
    register_pool,
    register_server,
    retry_publication,
    set_server_state,
)


class PoolForm(StepForm):
    slug = forms.CharField(max_length=50, help_text="Lower-case letters, digits and '-'.")
    title = forms.CharField(max_length=200)
    repository = forms.CharField(
        max_length=500, help_text="Absolute path of the model repository, as the workers see it."
    )
    server_repository = forms.CharField(
        max_length=500, required=False, help_text="The same repository as its Tritons see it; empty: the same path."
    )
    gpu = forms.BooleanField(required=False, label="Its Tritons run models on GPUs")


@admin.register(Pool)
class PoolAdmin(StaffAdmin[Pool]):
    add_permission = Permission.MANAGE_FLEET
    add_text = "Add a pool"
    empty_text = "A pool is a model repository and the Tritons that serve it."
    list_display = ("slug", "title", "servers_live", "gpu", "repository")
    search_fields = ("slug", "title")
    fields = (("slug", "title"), ("repository", "server_repository"), ("gpu", "created_at"), "servers_live")
    readonly_fields = ("servers_live",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        live = Count("servers", filter=Q(servers__health=Health.LIVE))
        return super().get_queryset(request).annotate(server_count=Count("servers"), live_count=live)

    @column("Servers", ordering="server_count")
    def servers_live(self, pool: Any) -> str:
        return f"{pool.live_count} of {pool.server_count} live"

    def add_step(self, request: HttpRequest) -> HttpResponse:
        def run(data: dict[str, Any]) -> HttpResponse:
            data["server_repository"] = data["server_repository"] or None
            pool = register_pool(actor_of_staff(request), **data)
            messages.success(request, f"Pool {pool.slug} is there; register its Tritons next.")
            return HttpResponseRedirect(self.page_of(pool))

        intro = "A pool is a model repository and the Tritons that serve it."
        return self.take_step(request, Step("Add a pool", PoolForm.of(request), "Add", self.list_page(), intro), run)


class ServerForm(StepForm):
    pool = forms.ModelChoiceField(Pool.objects.all())
    name = forms.CharField(max_length=50, help_text="Unique over all pools: lower-case letters, digits and '-'.")
    http_address = forms.CharField(max_length=200, help_text="host:port, as gateways and workers reach it.")
    grpc_address = forms.CharField(max_length=200, help_text="host:port")
    metrics_address = forms.CharField(max_length=200, required=False, help_text="host:port; empty: none.")
    control_secret = forms.CharField(
        max_length=50,
        required=False,
        help_text="Name of the secret file with the password of its control API; empty: that is open.",
    )


@admin.register(Server)
class ServerAdmin(StaffAdmin[Server]):
    add_permission = Permission.MANAGE_FLEET
    add_text = "Register a server"
    empty_text = "Register the first Triton; the controller looks at it within a second."
    list_display = ("name", "pool", "health_column", "state_column", "versions_ready", "triton_version", "seen_at")
    list_filter = ("pool", "health", "state")
    list_select_related = ("pool",)
    search_fields = ("name", "http_address", "grpc_address")
    actions = ("cordon_selected", "uncordon_selected")
    actions_detail = ("cordon", "uncordon")
    change_form_template = "controlplane/server.html"
    fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Server]:
        ready = Count("placements", filter=Q(placements__state=PlacementState.READY))
        return super().get_queryset(request).annotate(placement_count=Count("placements"), ready_count=ready)

    @column("Health", ordering="health", label=True)
    def health_column(self, server: Server) -> str:
        return server.health

    @column("State", ordering="state", label=True)
    def state_column(self, server: Server) -> str:
        return server.state

    @column("Versions", ordering="ready_count")
    def versions_ready(self, server: Any) -> str:
        return f"{server.ready_count} of {server.placement_count} ready"

    def has_manage_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may(request, Permission.MANAGE_FLEET)

    def offered_actions(self, obj: Server) -> Iterable[str]:
        return ("cordon",) if obj.state == ServerState.ACTIVE else ("uncordon",)

    def page_context(self, request: HttpRequest, obj: Server) -> dict[str, Any]:
        return {"placements": obj.placements.select_related("version__model").order_by("version__model__slug")}

    def add_step(self, request: HttpRequest) -> HttpResponse:
        def run(data: dict[str, Any]) -> HttpResponse:
            server = register_server(actor_of_staff(request), **data)
            messages.success(request, f"Server {server.name} is known; the controller looks at it within a second.")
            return HttpResponseRedirect(self.page_of(server))

        intro = "A server that is known by this name moves to the addresses given here."
        step = Step("Register a server", ServerForm.of(request), "Register", self.list_page(), intro)
        return self.take_step(request, step, run)

    @page_action("Cordon", path="cordon", permissions=["manage"], icon="do_not_disturb_on", variant="warning")
    def cordon(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = "It gets no requests that another server could take. What it serves stays loaded."
        return self._set_state(request, object_id, ServerState.CORDONED, "Cordon", intro)

    @page_action("Uncordon", path="uncordon", permissions=["manage"], icon="check_circle", variant="success")
    def uncordon(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = "Gateways send it requests again within a second."
        return self._set_state(request, object_id, ServerState.ACTIVE, "Uncordon", intro)

    def _set_state(
        self, request: HttpRequest, object_id: str, state: ServerState, verb: str, intro: str
    ) -> HttpResponse:
        server = self.require_object(request, object_id)

        def run() -> str:
            set_server_state(actor_of_staff(request), server=server, state=state)
            return f"{server.name} is {state.label.lower()} now."

        return self.confirm(request, server, run, title=f"{verb} {server.name}", submit=verb, intro=intro)

    @admin.action(description="Cordon", permissions=["manage"])
    def cordon_selected(self, request: HttpRequest, queryset: QuerySet[Server]) -> None:
        self._set_states(request, queryset, ServerState.CORDONED)

    @admin.action(description="Uncordon", permissions=["manage"])
    def uncordon_selected(self, request: HttpRequest, queryset: QuerySet[Server]) -> None:
        self._set_states(request, queryset, ServerState.ACTIVE)

    def _set_states(self, request: HttpRequest, servers: Iterable[Server], state: ServerState) -> None:
        actor = actor_of_staff(request)
        self.run_each(
            request, servers, lambda server: set_server_state(actor, server=server, state=state), f"Now {state.label}"
        )


@admin.register(Publication)
class PublicationAdmin(StaffAdmin[Publication]):
    empty_text = "Publish a version from its page; every step of it is kept here."
    list_display = ("version", "pool", "state_column", "duration", "attempt", "requested_by", "created_at")
    list_filter = ("state", "pool", "created_at")
    list_select_related = ("version__model", "pool")
    search_fields = ("version__model__slug", "version__semver", "requested_by")
    search_help_text = "Model, version or person"
    actions_detail = ("retry", "cancel")
    change_form_template = "controlplane/publication.html"
    fields = ("version",)

    @column("State", ordering="state", label=True)
    def state_column(self, publication: Publication) -> str:
        return publication.state

    @column("Duration")
    def duration(self, publication: Publication) -> str:
        if publication.finished_at is None:
            return "-"
        return f"{(publication.finished_at - publication.created_at).total_seconds():.1f} s"

    def has_publish_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may(request, Permission.PUBLISH)

    def offered_actions(self, obj: Publication) -> Iterable[str]:
        if obj.state in OPEN_STATES:
            return () if obj.cancel_requested else ("cancel",)
        return ("retry",) if obj.state in {PublicationState.FAILED, PublicationState.CANCELLED} else ()

    def page_context(self, request: HttpRequest, obj: Publication) -> dict[str, Any]:
        return {"publication": obj, "pipeline": pipeline_of(obj), "running": obj.state in OPEN_STATES}

    @page_action("Retry", path="retry", permissions=["publish"], icon="replay", variant="primary")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        publication = self.require_object(request, object_id)

        def run() -> str:
            retry_publication(actor_of_staff(request), publication=publication)
            return f"{publication} runs again."

        intro = "It begins again at its first step; steps that were done find their work done."
        return self.confirm(request, publication, run, title=f"Retry {publication}", submit="Retry", intro=intro)

    @page_action("Cancel", path="cancel", permissions=["publish"], icon="cancel", variant="warning")
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        publication = self.require_object(request, object_id)

        def run() -> str:
            cancel_publication(actor_of_staff(request), publication=publication)
            return f"{publication} stops before its next step."

        intro = "It stops before its next step, and what it brought to the pool is withdrawn."
        return self.confirm(
            request, publication, run, title=f"Cancel {publication}", submit="Cancel publication", intro=intro
        )
