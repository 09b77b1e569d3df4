"""Reads of keys and whom they belong to."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from controlplane.access.errors import KeyNotFoundError, PlanNotFoundError, ProjectNotFoundError
from controlplane.access.models import ApiKey, Plan, Project

DEFAULT_ORGANISATION = "default"
DEFAULT_PROJECT = "default"
DEFAULT_PLAN = "local"


def list_keys() -> QuerySet[ApiKey]:
    """All keys, newest first, with project, organisation and plan."""
    return ApiKey.objects.select_related("project__organisation", "plan").order_by("-id")


def search_keys(*, text: str = "", state: str = "", organisation: str = "", project: str = "") -> QuerySet[ApiKey]:
    """Keys whose label, id or owner holds a text, and that are in a state and of an organisation and project, if given.

    Args:
        text: any part of the label, the public id or the owner.
        state: ``active``, ``expired`` or ``revoked``, as `ApiKey.state` has it.
        organisation: a slug.
        project: a slug.
    """
    keys = list_keys()
    if text:
        keys = keys.filter(Q(label__icontains=text) | Q(key_id__icontains=text) | Q(owner__icontains=text))
    if state:
        expired = Q(expires_at__isnull=False, expires_at__lte=timezone.now())
        keys = {
            "revoked": keys.exclude(revoked_at=None),
            "expired": keys.filter(expired, revoked_at=None),
            "active": keys.exclude(expired).filter(revoked_at=None),
        }[state]
    exact = {"project__organisation__slug": organisation, "project__slug": project}
    return keys.filter(**{name: value for name, value in exact.items() if value})


def get_key(key_id: str) -> ApiKey:
    """The key of that public id.

    Raises:
        KeyNotFoundError: there is none.
    """
    key = list_keys().filter(key_id=key_id).first()
    if key is None:
        raise KeyNotFoundError(f"There is no API key {key_id!r}.")
    return key


def get_project(organisation: str = DEFAULT_ORGANISATION, project: str = DEFAULT_PROJECT) -> Project:
    """A project by its organisation's slug and its own.

    Raises:
        ProjectNotFoundError: there is none.
    """
    found = Project.objects.select_related("organisation").filter(organisation__slug=organisation, slug=project).first()
    if found is None:
        raise ProjectNotFoundError(f"There is no project {project!r} in organisation {organisation!r}.")
    return found


def get_plan(slug: str = DEFAULT_PLAN) -> Plan:
    """A plan by its slug.

    Raises:
        PlanNotFoundError: there is none.
    """
    plan = Plan.objects.filter(slug=slug).first()
    if plan is None:
        known = ", ".join(Plan.objects.values_list("slug", flat=True))
        raise PlanNotFoundError(f"There is no plan {slug!r}; there are: {known}.")
    return plan
