"""Models and versions in the admin.

They belong to the registry, but what staff want to see with them, where they run and how much they are used, is known
only to the apps above it; so these pages are made here, on top.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from controlplane.accounts.domain import Permission
from controlplane.audit.staff_admin import StaffAdmin, Step, actor_of_staff, column, may, page_action
from controlplane.fleet.domain import OPEN_STATES, PublicationState
from controlplane.fleet.models import Pool, Publication
from controlplane.fleet.services import (
    cancel_publication,
    publish_version,
    restore_version,
    retire_version,
    retry_publication,
)
from controlplane.registry.domain import APPROVABLE_STATES, PUBLISHABLE_STATES, VersionState
from controlplane.registry.importing import MODEL_FILE, VersionDraft, import_version
from controlplane.registry.models import AliasMove, ModelVersion, RegisteredModel
from controlplane.registry.selectors import approvals_missing, manifest_of
from controlplane.registry.services import ModelFields, approve_version, create_model, set_alias, update_model
from controlplane.ui.activity import models_with_activity, versions_with_placements
from controlplane.ui.live import version_activity
from controlplane.ui.step_forms import AliasForm, ModelForm, NewModelForm, PublishForm, VersionForm
from controlplane.usage.selectors import usage_totals

SHOWN_VERSIONS = 20
SHOWN_MOVES = 20


class TagFilter(admin.SimpleListFilter):
    title = "tag"
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        self._tags: dict[int, list[str]] = dict(RegisteredModel.objects.order_by().values_list("pk", "tags"))
        return [(tag, tag) for tag in sorted({str(tag) for tags in self._tags.values() for tag in tags})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RegisteredModel]) -> QuerySet[RegisteredModel]:
        tag = self.value()
        # SQLite cannot ask JSON for containment; the tags were read for the choices anyway.
        return (
            queryset if tag is None else queryset.filter(pk__in=[pk for pk, tags in self._tags.items() if tag in tags])
        )


@admin.register(RegisteredModel)
class RegisteredModelAdmin(StaffAdmin[RegisteredModel]):
    """Models: what clients call by name."""

    add_permission = Permission.MANAGE_MODELS
    add_text = "Register a model"
    empty_text = "A model is a name that clients call; its versions come and go behind it."
    list_display = ("name", "default_version", "published", "requests", "task", "framework", "updated_at")
    list_filter = ("task", "framework", TagFilter)
    search_fields = ("slug", "title", "description", "owner")
    search_help_text = "Name, title, description or owner"
    actions_detail = ("edit", "move_alias")
    change_form_template = "controlplane/model.html"
    fields = ("slug",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RegisteredModel]:
        return models_with_activity()

    @column("Model", ordering="slug", header=True)
    def name(self, model: RegisteredModel) -> tuple[str, str]:
        return model.slug, model.title if model.title != model.slug else ""

    @column("Default alias")
    def default_version(self, model: RegisteredModel) -> str:
        version = _default_version(model)
        return f"{model.default_alias} → {version.semver}" if version else f"{model.default_alias} → nothing yet"

    @column("Published", ordering="published_count")
    def published(self, model: Any) -> int:
        return int(model.published_count)

    @column("Requests, 24 h", ordering="requests_24h")
    def requests(self, model: Any) -> str:
        return f"{model.requests_24h:,}"

    def has_manage_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may(request, Permission.MANAGE_MODELS)

    def has_publish_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may(request, Permission.PUBLISH)

    def page_context(self, request: HttpRequest, obj: RegisteredModel) -> dict[str, Any]:
        moves = AliasMove.objects.filter(alias__model=obj).select_related("alias", "from_version", "to_version")
        return {
            "model": obj,
            "default_version": _default_version(obj),
            "versions": versions_with_placements().filter(model=obj)[:SHOWN_VERSIONS],
            "version_count": obj.versions.count(),
            "aliases": obj.aliases.all(),
            "moves": moves[:SHOWN_MOVES],
            "use": usage_totals(model_number=obj.pk, since=timezone.now() - timedelta(hours=24)),
            "may_add": may(request, Permission.MANAGE_MODELS),
        }

    def add_step(self, request: HttpRequest) -> HttpResponse:
        def run(data: dict[str, Any]) -> HttpResponse:
            slug = data.pop("slug")
            model = create_model(actor_of_staff(request), slug=slug, fields=ModelFields(**data))
            messages.success(request, f"Model {model.slug} is registered; add its first version next.")
            return HttpResponseRedirect(self.page_of(model))

        step = Step("Register a model", NewModelForm.of(request), "Register", self.list_page())
        return self.take_step(request, step, run)

    @page_action("Edit", path="edit", permissions=["manage"], icon="edit")
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        model = self.require_object(request, object_id)
        initial = {name: getattr(model, name) for name in ModelForm.base_fields} | {"tags": ", ".join(model.tags)}
        form = ModelForm.of(request, initial=initial)
        # Whoever saved since this form was shown must not be overwritten: the form carries the revision it shows.
        shown = request.POST.get("revision", "")
        revision = int(shown) if shown.isdecimal() and len(shown) < 10 else model.revision

        def run(data: dict[str, Any]) -> HttpResponse:
            model.revision = revision
            update_model(actor_of_staff(request), model=model, fields=ModelFields(**data))
            messages.success(request, f"Model {model.slug} is saved.")
            return HttpResponseRedirect(self.page_of(model))

        hidden = (("revision", str(revision)),)
        return self.take_step(request, Step(f"Edit {model}", form, "Save", self.page_of(model), hidden=hidden), run)

    @page_action("Move alias", path="alias", permissions=["publish"], icon="move_down", variant="primary")
    def move_alias(self, request: HttpRequest, object_id: str) -> HttpResponse:
        model = self.require_object(request, object_id)
        form = AliasForm.of(request, model=model, initial={"name": model.default_alias})

        def run(data: dict[str, Any]) -> HttpResponse:
            alias = set_alias(actor_of_staff(request), model=model, name=data["name"], version=data["version"])
            messages.success(request, f"{alias} is {alias.version.semver} now; clients follow within a second.")
            return HttpResponseRedirect(self.page_of(model))

        intro = f"Requests for {model.slug} go to its default alias, {model.default_alias}; others are model@alias."
        step = Step(f"Move an alias of {model}", form, "Move alias", self.page_of(model), intro)
        return self.take_step(request, step, run)


def _default_version(model: RegisteredModel) -> ModelVersion | None:
    return next((alias.version for alias in model.aliases.all() if alias.name == model.default_alias), None)


@admin.register(ModelVersion)
class ModelVersionAdmin(StaffAdmin[ModelVersion]):
    add_permission = Permission.MANAGE_MODELS
    add_text = "Add a version"
    empty_text = "Upload an ONNX file: it is inspected, and what stands against serving it is said at once."
    list_display = ("model", "semver", "number", "state_column", "placed", "size", "created_by", "created_at")
    list_display_links = ("model", "semver")
    list_filter = ("state", "backend", "deprecated", "created_at")
    search_fields = ("model__slug", "semver", "model__title", "digest")
    search_help_text = "Model, version or digest"
    actions = ("publish_selected",)
    actions_detail = ("approve", "publish", "retry", "cancel", "retire", "restore")
    change_form_template = "controlplane/version.html"
    fields = ("semver",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        return versions_with_placements()

    @column("State", ordering="state", label=True)
    def state_column(self, version: ModelVersion) -> str:
        return version.state

    @column("Servers", ordering="ready_count")
    def placed(self, version: Any) -> str:
        return f"{version.ready_count}/{version.placement_count} ready" if version.placement_count else "-"

    @column("Size", ordering="size_bytes")
    def size(self, version: ModelVersion) -> str:
        return readable_size(version.size_bytes)

    def has_publish_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may(request, Permission.PUBLISH)

    def offered_actions(self, obj: ModelVersion) -> Iterable[str]:
        latest = _latest_publication(obj)
        if latest is not None and latest.state in OPEN_STATES:
            return () if latest.cancel_requested else ("cancel",)
        retryable = latest is not None and latest.state in {PublicationState.FAILED, PublicationState.CANCELLED}
        approvable = obj.state in APPROVABLE_STATES and approvals_missing(obj) > 0
        publishable = obj.state in {*PUBLISHABLE_STATES, VersionState.PUBLISHED} and not approvable
        offers = {
            "approve": approvable,
            "publish": publishable,
            "retry": retryable,
            "retire": obj.state == VersionState.PUBLISHED,
            "restore": obj.state == VersionState.RETIRED,
        }
        return [name for name, offered in offers.items() if offered]

    def page_context(self, request: HttpRequest, obj: ModelVersion) -> dict[str, Any]:
        return {
            **version_activity(obj),
            "files": obj.files.select_related("artifact"),
            "golden_samples": obj.golden_samples.all(),
            "manifest": json.loads(manifest_of(obj).to_json()),
            "aliases": obj.aliases.all(),
            "size": readable_size(obj.size_bytes),
        }

    def add_step(self, request: HttpRequest) -> HttpResponse:
        form = VersionForm.of(request, initial={"model": request.GET.get("model", "")})

        def run(data: dict[str, Any]) -> HttpResponse:
            draft = VersionDraft(
                semver=data["semver"],
                files={MODEL_FILE: data["file"]},
                golden_samples=data["golden_samples"],
                metrics=data["metrics"],
                dataset_notes=data["dataset_notes"],
                source=data["source"] or "uploaded in the admin",
            )
            version = import_version(actor_of_staff(request), model=data["model"], draft=draft)
            messages.success(request, f"{version} is validated and can be published.")
            return HttpResponseRedirect(self.page_of(version))

        intro = "The file is inspected in a sandbox; what stands against serving it is said here."
        return self.take_step(request, Step("Add a version", form, "Upload and inspect", self.list_page(), intro), run)

    @page_action("Publish", path="publish", permissions=["publish"], icon="publish", variant="primary")
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = self.require_object(request, object_id)

        def run(data: dict[str, Any]) -> HttpResponse:
            publish_version(actor_of_staff(request), version=version, pool=data["pool"])
            messages.success(request, f"{version} is on its way to {data['pool']}; this page follows it.")
            return HttpResponseRedirect(self.page_of(version))

        intro = (
            "Its files are staged, verified, moved into the pool's repository, loaded, and proven by golden requests."
        )
        step = Step(f"Publish {version}", PublishForm.of(request), "Publish", self.page_of(version), intro)
        return self.take_step(request, step, run)

    @page_action("Approve", path="approve", permissions=["publish"], icon="verified", variant="success")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = self.require_object(request, object_id)

        def run() -> str:
            approve_version(actor_of_staff(request), version=version)
            return f"{version} is {version.state} now."

        intro = "You say that it may be published. Its author cannot say that; what brings code needs two people."
        return self.confirm(request, version, run, title=f"Approve {version}", submit="Approve", intro=intro)

    @page_action("Retire", path="retire", permissions=["publish"], icon="archive", variant="warning")
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = "It leaves the routes, is unloaded once nothing uses it, and can be restored for some days."
        return self._ask_for(request, object_id, "Retire", intro, retire_version)

    @page_action("Restore", path="restore", permissions=["publish"], icon="unarchive", variant="primary")
    def restore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = "Its files come back from the attic, are verified, loaded, and proven by golden requests."
        return self._ask_for(request, object_id, "Restore", intro, restore_version)

    def _ask_for(
        self, request: HttpRequest, object_id: str, verb: str, intro: str, service: Callable[..., Publication]
    ) -> HttpResponse:
        version = self.require_object(request, object_id)

        def run(data: dict[str, Any]) -> HttpResponse:
            publication = service(actor_of_staff(request), version=version, pool=data["pool"])
            messages.success(request, f"{publication} is asked for; this page follows it.")
            return HttpResponseRedirect(self.page_of(version))

        step = Step(f"{verb} {version}", PublishForm.of(request), verb, self.page_of(version), intro)
        return self.take_step(request, step, run)

    @page_action("Retry", path="retry", permissions=["publish"], icon="replay", variant="primary")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version, publication = self._with_publication(request, object_id)

        def run() -> str:
            retry_publication(actor_of_staff(request), publication=publication)
            return f"{publication} runs again."

        intro = "It begins again at its first step; steps that were done find their work done."
        return self.confirm(request, version, run, title=f"Retry {publication}", submit="Retry", intro=intro)

    @page_action("Cancel", path="cancel", permissions=["publish"], icon="cancel", variant="warning")
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version, publication = self._with_publication(request, object_id)

        def run() -> str:
            cancel_publication(actor_of_staff(request), publication=publication)
            return f"{publication} stops before its next step."

        intro = "It stops before its next step, and what it brought to the pool is withdrawn."
        return self.confirm(
            request, version, run, title=f"Cancel {publication}", submit="Cancel publication", intro=intro
        )

    def _with_publication(self, request: HttpRequest, object_id: str) -> tuple[ModelVersion, Publication]:
        version = self.require_object(request, object_id)
        publication = _latest_publication(version)
        if publication is None:
            raise Http404
        return version, publication

    @admin.action(description="Publish", permissions=["publish"])
    def publish_selected(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> HttpResponse | None:
        """Publishes at once where there is one pool; asks for the pool where there are several."""
        pools = list(Pool.objects.order_by("slug")[:2])
        if len(pools) == 1:
            self._publish_each(request, queryset, pools[0])
            return None
        form = PublishForm.of(request)
        chosen = [("_selected_action", str(pk)) for pk in queryset.values_list("pk", flat=True)]
        hidden = (("action", "publish_selected"), *chosen)

        def run(data: dict[str, Any]) -> HttpResponse:
            self._publish_each(request, queryset, data["pool"])
            return HttpResponseRedirect(self.list_page())

        step = Step(f"Publish {len(chosen)} versions", form, "Publish", self.list_page(), hidden=hidden)
        return self.take_step(request, step, run)

    def _publish_each(self, request: HttpRequest, versions: Iterable[ModelVersion], pool: Pool) -> None:
        actor = actor_of_staff(request)
        self.run_each(
            request,
            versions,
            lambda version: publish_version(actor, version=version, pool=pool),
            f"On the way to {pool}",
        )


def readable_size(size_bytes: int) -> str:
    """A size in the unit people would choose."""
    size, units = float(size_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def _latest_publication(version: ModelVersion) -> Publication | None:
    return version.publications.select_related("version__model", "pool").order_by("-id").first()
