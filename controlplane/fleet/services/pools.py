"""Pools and servers: what staff say about them."""

from __future__ import annotations

import re
from pathlib import Path

from django.db import IntegrityError, transaction

from controlplane.accounts.domain import Permission
from controlplane.audit.domain import Actor
from controlplane.audit.services import record, touch
from controlplane.fleet.domain import UNDO_WINDOW_S, ServerState
from controlplane.fleet.errors import InvalidServerError
from controlplane.fleet.models import Pool, Server

_ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")


@transaction.atomic
def register_pool(
    actor: Actor,
    *,
    slug: str,
    title: str,
    repository: str,
    server_repository: str | None = None,
    gpu: bool = False,
    undo_window_s: int = UNDO_WINDOW_S,
) -> Pool:
    """Makes a pool.

    Args:
        actor: who asks.
        slug: its name.
        title: its name for people.
        repository: absolute path of the model repository, as workers see it.
        server_repository: the same repository as its Tritons see it; by default the same path.
        gpu: whether its Tritons run models on GPUs.
        undo_window_s: how long a retired version lies in the attic.

    Raises:
        PermissionMissingError: the actor may not manage the fleet.
        InvalidServerError: the slug is taken or malformed, or the repository is no absolute path.
    """
    actor.require(Permission.MANAGE_FLEET)
    _check_name(slug)
    if not Path(repository).is_absolute():
        raise InvalidServerError("Give the pool's repository as an absolute path.", code="pool.invalid_repository")
    try:
        with transaction.atomic():
            pool = Pool.objects.create(
                slug=slug,
                title=title,
                repository=repository,
                server_repository=server_repository or repository,
                gpu=gpu,
                undo_window_s=undo_window_s,
            )
    except IntegrityError:
        raise InvalidServerError(f"There is a pool {slug!r} already.", code="pool.exists") from None
    record(actor, action="fleet.register_pool", target=pool, after={"repository": repository, "gpu": gpu})
    return pool


@transaction.atomic
def register_server(
    actor: Actor,
    *,
    pool: Pool,
    name: str,
    http_address: str,
    grpc_address: str,
    metrics_address: str = "",
    control_secret: str = "",
) -> Server:
    """Adds a Triton to a pool, or moves one that is known by this name to other addresses.

    Args:
        actor: who asks.
        pool: the pool whose repository the Triton serves.
        name: unique over all pools.
        http_address: ``host:port`` as gateways and workers reach it; so are the others.
        grpc_address: the gRPC endpoint.
        metrics_address: the metrics endpoint; empty if there is none.
        control_secret: name of the secret file with the password of its control API; empty if that is open.

    Raises:
        PermissionMissingError: the actor may not manage the fleet.
        InvalidServerError: a name or address is malformed.
    """
    actor.require(Permission.MANAGE_FLEET)
    _check_name(name)
    addresses = {"http_address": http_address, "grpc_address": grpc_address, "metrics_address": metrics_address}
    for label, address in addresses.items():
        if not (_ADDRESS.fullmatch(address) or (label == "metrics_address" and not address)):
            raise InvalidServerError(f"{label} must be host:port, not {address!r}.")
    if control_secret and not re.fullmatch(r"[a-z0-9_.-]+", control_secret):
        raise InvalidServerError("control_secret is the name of a file in the secrets folder, not the secret itself.")
    before = Server.objects.filter(name=name).values(*addresses).first()
    server, _ = Server.objects.update_or_create(
        name=name, defaults={"pool": pool, "control_secret": control_secret, **addresses}
    )
    if before != addresses:
        record(actor, action="fleet.register_server", target=server, before=before or {}, after=addresses)
        touch("server", [str(server.pk)])
    return server


@transaction.atomic
def set_server_state(actor: Actor, *, server: Server, state: ServerState) -> Server:
    """Cordons a server, so that it gets no requests another could take, or opens it again.

    Raises:
        PermissionMissingError: the actor may not manage the fleet.
    """
    actor.require(Permission.MANAGE_FLEET)
    before = server.state
    if Server.objects.filter(pk=server.pk).exclude(state=state).update(state=state):
        record(actor, action="fleet.set_server_state", target=server, before={"state": before}, after={"state": state})
        touch("server", [str(server.pk)])
    server.refresh_from_db()
    return server


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidServerError(f"{name!r} is no name: use up to 50 lower-case letters, digits and '-'.")
