"""From rows to entries: what of each object a gateway may know."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from controlplane.access.models import ApiKey
from controlplane.fleet.domain import Health, ServerState
from controlplane.fleet.models import Server
from controlplane.fleet.selectors import routable_servers
from controlplane.registry.domain import VersionState
from controlplane.registry.models import ModelVersion, RegisteredModel
from controlplane.wire.snapshot import (
    KeyEntry,
    ModelCard,
    ModelEntry,
    ServerEntry,
    TensorSpec,
    VersionRoute,
    encode_card,
)

EntryValue = KeyEntry | ModelEntry | ServerEntry


def build_entries(kind: str, names: Iterable[str]) -> dict[str, EntryValue | None]:
    """The values of entries as they should be now; None for those that should be gone."""
    wanted = list(names)
    values: dict[str, EntryValue | None] = dict.fromkeys(wanted)
    values.update(_BUILDERS[kind](wanted))
    return values


def _keys(key_ids: list[str]) -> dict[str, EntryValue]:
    keys = ApiKey.objects.select_related("project__organisation", "plan").filter(
        key_id__in=key_ids, revoked_at=None, project__suspended_at=None, project__organisation__suspended_at=None
    )
    return {
        key.key_id: KeyEntry(
            number=key.pk,
            digest=bytes(key.digest),
            organisation=key.project.organisation.slug,
            project=key.project.slug,
            scopes=tuple(key.scopes),
            models=tuple(key.model_patterns),
            plan=key.plan.slug,
            expires_at_s=key.expires_at.timestamp() if key.expires_at else None,
        )
        for key in keys
    }


def _models(slugs: list[str]) -> dict[str, EntryValue]:
    models = list(RegisteredModel.objects.filter(slug__in=slugs).prefetch_related("aliases__version"))
    published: dict[int, list[ModelVersion]] = {}
    for version in ModelVersion.objects.filter(model__in=models, state=VersionState.PUBLISHED).select_related("model"):
        published.setdefault(version.model_id, []).append(version)
    servers = routable_servers([version.pk for versions in published.values() for version in versions])
    return {model.slug: _model(model, published.get(model.pk, []), servers) for model in models}


def _model(model: RegisteredModel, versions: list[ModelVersion], servers: dict[int, list[int]]) -> ModelEntry:
    routes = {
        version.number: VersionRoute(
            number=version.number,
            semver=version.semver,
            triton_name=version.triton_name,
            servers=tuple(servers.get(version.pk, ())),
            batched=version.max_batch_size > 0,
            inputs=_tensors(version.inputs),
            outputs=_tensors(version.outputs),
        )
        for version in versions
    }
    aliases = {alias.name: alias.version.number for alias in model.aliases.all() if alias.version.number in routes}
    return ModelEntry(
        number=model.pk,
        slug=model.slug,
        default_version=aliases.get(model.default_alias),
        aliases=aliases,
        default_alias=model.default_alias,
        versions=routes,
        timeout_s=model.timeout_s,
        max_body_bytes=model.max_body_bytes,
        card=encode_card(_card(model)),
    )


def _tensors(specs: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(spec["name"], spec["datatype"], tuple(spec["shape"])) for spec in specs)


def _card(model: RegisteredModel) -> ModelCard:
    return ModelCard(
        title=model.title,
        description=model.description,
        framework=model.framework,
        task=model.task,
        tags=tuple(map(str, model.tags)),
        parameters=model.parameters,
        input_schema=model.input_schema,
        output_schema=model.output_schema,
        created_at=model.created_at.isoformat(timespec="seconds"),
        updated_at=model.updated_at.isoformat(timespec="seconds"),
    )


def _servers(ids: list[str]) -> dict[str, EntryValue]:
    servers = Server.objects.select_related("pool").filter(pk__in=[int(name) for name in ids if name.isdigit()])
    return {
        str(server.pk): ServerEntry(
            id=server.pk,
            name=server.name,
            pool=server.pool.slug,
            http=server.http_address,
            grpc=server.grpc_address,
            state="active" if server.state == ServerState.ACTIVE and server.health != Health.DOWN else "cordoned",
        )
        for server in servers
    }


_BUILDERS: dict[str, Callable[[list[str]], dict[str, EntryValue]]] = {
    "key": _keys,
    "model": _models,
    "server": _servers,
}
