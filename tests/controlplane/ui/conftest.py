"""Staff of every role, signed in, and a small control plane to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.test import Client
from django.utils import timezone

from controlplane.access.models import Plan, Project
from controlplane.access.services import ensure_defaults
from controlplane.accounts.domain import Role
from controlplane.accounts.models import User
from controlplane.audit.domain import Actor, system_actor
from controlplane.fleet.domain import Health, PlacementState
from controlplane.fleet.models import Placement, Pool, Server
from controlplane.fleet.services import register_pool, register_server
from controlplane.registry.domain import VersionState
from controlplane.registry.models import ModelVersion, RegisteredModel
from controlplane.registry.services import ModelFields, allocate_number, create_model

BOOT = system_actor("tests")
SignIn = Callable[[Role], Client]


@pytest.fixture
def sign_in(db: None) -> SignIn:
    """A browser in which somebody of a role has signed in."""

    def sign_in(role: Role) -> Client:
        user, _ = User.objects.get_or_create(username=f"a-{role}", defaults={"role": role, "is_staff": True})
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def owner(sign_in: SignIn) -> Client:
    return sign_in(Role.OWNER)


@pytest.fixture
def operator(sign_in: SignIn) -> Client:
    return sign_in(Role.OPERATOR)


@pytest.fixture
def viewer(sign_in: SignIn) -> Client:
    return sign_in(Role.VIEWER)


@pytest.fixture
def defaults(db: None) -> tuple[Project, Plan]:
    return ensure_defaults(BOOT)


@dataclass(frozen=True)
class Scene:
    """A model with a published and a validated version, and the one server of a pool."""

    model: RegisteredModel
    published: ModelVersion
    validated: ModelVersion
    pool: Pool
    server: Server


@pytest.fixture
def scene(db: None) -> Scene:
    model = create_model(BOOT, slug="digits", fields=ModelFields(title="Digits", task="images", tags=["vision"]))
    published = add_version(model, "1.0.0", VersionState.PUBLISHED)
    validated = add_version(model, "1.1.0", VersionState.VALIDATED)
    pool = add_pool("default")
    server = pool.servers.get()
    Placement.objects.create(server=server, version=published, state=PlacementState.READY, proven=True)
    return Scene(model, published, validated, pool, server)


def add_version(model: RegisteredModel, semver: str, state: VersionState) -> ModelVersion:
    return ModelVersion.objects.create(
        model=model,
        semver=semver,
        number=allocate_number(model),
        state=state,
        created_by="user:dev",
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
    )


def add_pool(slug: str, actor: Actor = BOOT) -> Pool:
    pool = register_pool(actor, slug=slug, title=slug.title(), repository=f"/srv/{slug}")
    server = register_server(
        actor, pool=pool, name=f"triton-{slug}", http_address="10.0.0.1:8000", grpc_address="10.0.0.1:8001"
    )
    Server.objects.filter(pk=server.pk).update(health=Health.LIVE, seen_at=timezone.now())
    return pool


def page(model: str, pk: int | None = None, step: str = "") -> str:
    """The address of a list, an object's page or one of its steps: ``page("fleet_server", 3, "cordon")``."""
    parts = ["/admin", *model.split("_", 1), *([str(pk)] if pk else []), *([step] if step else [])]
    if pk and not step:
        parts.append("change")
    return "/".join(parts) + "/"


def take(client: Client, address: str, **data: object) -> object:
    """Submits a step."""
    return client.post(address, {"_step": "1", **data})
