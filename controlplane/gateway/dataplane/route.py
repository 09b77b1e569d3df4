"""Where a request goes: from the name a client uses to one version of a model, and from there to a server."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.authenticate import may_use
from controlplane.gateway.orders import Orders
from controlplane.wire.snapshot import KeyEntry, ModelEntry, ServerEntry, VersionRoute
from controlplane.wire.usage import Arm

_MAX_CACHED_ROUTES = 65_536


class Route:
    """One version of a model, with everything the data path derives from its names worked out once.

    Attributes:
        base_path: the model's path on a server, ``/v2/models/digits.v3/versions/3``.
        json_name: how Triton begins an answer about it; `public_json_name` is what the client reads instead.
    """

    __slots__ = (
        "arm",
        "base_path",
        "infer_line",
        "json_name",
        "model",
        "public_json_name",
        "version",
        "version_header",
    )

    def __init__(self, model: ModelEntry, version: VersionRoute, arm: Arm) -> None:
        self.model = model
        self.version = version
        self.arm = arm
        self.base_path = f"/v2/models/{version.triton_name}/versions/{version.number}".encode()
        self.infer_line = b"POST %b/infer HTTP/1.1\r\n" % self.base_path
        self.json_name = f'"model_name":"{version.triton_name}"'.encode()
        self.public_json_name = f'"model_name":"{model.slug}"'.encode()
        self.version_header = b"X-Model-Version: %d\r\n" % version.number

    def restore_text(self, text: str) -> str:
        """A text of Triton's with the name the client knows in place of Triton's."""
        return text.replace(self.version.triton_name, self.model.slug)

    def restore_config(self, config: bytes) -> bytes:
        """A model configuration in JSON, which begins with its name, with the name the client knows."""
        triton, public = self.version.triton_name.encode(), self.model.slug.encode()
        return config.replace(b'"name":"%b"' % triton, b'"name":"%b"' % public, 1)

    def public_versions(self, asked_for: str | None) -> list[str]:
        """The versions that a client may see: the one it asked for, or all that run somewhere."""
        if asked_for:
            return [str(self.version.number)]
        return [str(number) for number, version in sorted(self.model.versions.items()) if version.servers]


class Router:
    """Finds routes in the orders and counts what is outstanding on each server.

    Attributes:
        outstanding: server id -> requests sent to it by this process and not answered yet.
        unreachable: server id -> failed attempts to connect since the last that worked.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._routes: dict[tuple[str, str | None], Route] = {}
        self.outstanding: dict[int, int] = {}
        self.unreachable: dict[int, int] = {}

    def resolve(self, key: KeyEntry, name: str, version: str | None) -> Route:
        """The route of ``slug`` or ``slug@alias``, or of one version of ``slug``.

        Raises:
            RefusedError: there is no such model, alias or version, or the key may not know of the model.
        """
        route = self._routes.get((name, version))
        if route is None or self._orders.models.get(route.model.slug) is not route.model:
            route = self._find(key, name, version)
        elif not may_use(key, route.model.slug):
            raise refusals.unknown_model(name)
        return route

    def _find(self, key: KeyEntry, name: str, version: str | None) -> Route:
        slug, at, alias = name.partition("@")
        model = self._orders.models.get(slug)
        if model is None or not may_use(key, slug) or (at and version is not None):
            raise refusals.unknown_model(name)
        if at:
            number = model.aliases.get(alias)
            if number is None:
                raise refusals.unknown_model(name)
        elif version is not None:
            number = int(version)
        else:
            number = model.default_version
            if number is None:
                raise refusals.no_default_version(name)
        version_route = model.versions.get(number)
        if version_route is None:
            raise refusals.unknown_model(name, str(number))
        route = Route(
            model,
            version_route,
            Arm.PINNED if version is not None or (at and alias != model.default_alias) else Arm.STABLE,
        )
        if len(self._routes) >= _MAX_CACHED_ROUTES:
            self._routes.clear()
        self._routes[name, version] = route
        return route

    def pick(self, route: Route, tried: Iterable[int] = ()) -> ServerEntry | None:
        """The server with the fewest outstanding requests among those where this version is ready.

        A server that could not be reached lately, and one that is cordoned, is picked only where no other is left.
        """
        best: ServerEntry | None = None
        best_rank = (2, 2, 0)
        for server_id in route.version.servers:
            server = self._orders.servers.get(server_id)
            if server is None or server_id in tried:
                continue
            rank = (
                int(server.state != "active"),
                int(server_id in self.unreachable),
                self.outstanding.get(server_id, 0),
            )
            if rank < best_rank:
                best, best_rank = server, rank
        return best

    def began(self, server: ServerEntry) -> None:
        """Notes that a request goes to a server that was reached."""
        self.outstanding[server.id] = self.outstanding.get(server.id, 0) + 1
        if self.unreachable:
            self.unreachable.pop(server.id, None)

    def ended(self, server: ServerEntry) -> None:
        """Notes that the server is done with it, one way or another."""
        self.outstanding[server.id] -= 1

    def failed(self, server: ServerEntry) -> None:
        """Notes that a server could not be reached."""
        self.unreachable[server.id] = self.unreachable.get(server.id, 0) + 1
