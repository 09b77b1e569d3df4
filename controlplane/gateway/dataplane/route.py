"""Where a request goes: from the name a client uses to one version of a model, and from there to a server."""

from __future__ import annotations

import time
from collections.abc import Iterable

from controlplane.gateway.dataplane import refusals
from controlplane.gateway.dataplane.authenticate import may_use
from controlplane.gateway.dataplane.sequences import Sequence, rendezvous
from controlplane.gateway.dataplane.targets import is_version
from controlplane.gateway.orders import Orders
from controlplane.wire.snapshot import KeyEntry, ModelEntry, ServerEntry, VersionRoute
from controlplane.wire.usage import Arm

_MAX_CACHED_ROUTES = 65_536
_FIRST_EJECTION_S = 0.5
_LONGEST_EJECTION_S = 30.0
_PROBE_S = 1.0
"""An ejected server is tried by one request in this time, until one succeeds."""
MISSING_S = 5.0
"""How long a server that said it lacks a version is passed over for that version."""


class Route:
    """One version of a model, with everything the data path derives from its names worked out once.

    Attributes:
        base_path: the model's path on a server, ``/v2/models/digits.v3/versions/3``.
        json_name: how Triton begins an answer about it; `public_json_name` is what the client reads instead.
        outputs: name -> datatype of what the version gives; empty where the orders do not say.
        answer_headers: lines that tell a client which version answered, and as which arm.
    """

    __slots__ = (
        "answer_headers",
        "arm",
        "base_path",
        "infer_line",
        "json_name",
        "model",
        "outputs",
        "public_json_name",
        "version",
    )

    def __init__(self, model: ModelEntry, version: VersionRoute, arm: Arm) -> None:
        self.model = model
        self.version = version
        self.arm = arm
        self.base_path = f"/v2/models/{version.triton_name}/versions/{version.number}".encode()
        self.infer_line = b"POST %b/infer HTTP/1.1\r\n" % self.base_path
        self.json_name = f'"model_name":"{version.triton_name}"'.encode()
        self.public_json_name = f'"model_name":"{model.slug}"'.encode()
        self.outputs = {output.name: output.datatype for output in version.outputs}
        self.answer_headers = b"X-Model-Version: %d\r\nX-Model-Arm: %b\r\n" % (
            version.number,
            arm.name.lower().encode(),
        )

    def restore_text(self, text: str) -> str:
        """A text of Triton's with the name the client knows in place of Triton's, and without a model's stack."""
        return text.partition("\n\nAt:\n")[0].replace(self.version.triton_name, self.model.slug)

    def restore_error(self, body: bytes) -> bytes:
        """An error in JSON, or an event with one, as `restore_text` has it.

        Source: Triton's Python backend ends its errors with "At:" and the model's files and lines.
        """
        head, stack, _ = body.partition(rb"\n\nAt:\n")
        return (head + b'"}' if stack else head).replace(self.version.triton_name.encode(), self.model.slug.encode())

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
        unreachable: server id -> failed attempts since its last answer.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._routes: dict[tuple[str, str | None], Route] = {}
        self.outstanding: dict[int, int] = {}
        self.unreachable: dict[int, int] = {}
        self._ejected_until: dict[int, float] = {}
        self._missing_until: dict[tuple[int, str], float] = {}

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

    def number_of(self, key: KeyEntry, slug: str, version: str) -> str:
        """The number of a version that a person names: ``3``, ``v3`` or ``1.0.0``.

        Raises:
            RefusedError: there is no such model or version, or the key may not know of the model.
        """
        model = self._orders.models.get(slug)
        if model is None or not may_use(key, slug):
            raise refusals.unknown_model(slug)
        number = version.removeprefix("v")
        if is_version(number):
            return number
        for one in model.versions.values():
            if one.semver == version:
                return str(one.number)
        raise refusals.unknown_model(slug, version)

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

    def pick(self, route: Route, tried: Iterable[int] = (), sequence: Sequence | None = None) -> ServerEntry | None:
        """The server for a request among those where this version is ready; None where there is none.

        That is the one with the fewest outstanding requests; for a request of a sequence, the one that every request
        of it goes to. A server that could not be reached lately, one that said it lacks the version, and one that is
        cordoned is picked only where no other is left.
        """
        best: ServerEntry | None = None
        best_rank: tuple[bool, bool, int | bytes] | None = None
        troubled = bool(self._ejected_until or self._missing_until)
        for server_id in route.version.servers:
            server = self._orders.servers.get(server_id)
            if server is None or server_id in tried:
                continue
            order = self.outstanding.get(server_id, 0) if sequence is None else rendezvous(server_id, sequence.inner)
            rank = (server.state != "active", troubled and self._is_out(server_id, route), order)
            if best_rank is None or rank < best_rank:
                best, best_rank = server, rank
        if best is not None and best.id in self._ejected_until:
            self._ejected_until[best.id] = max(self._ejected_until[best.id], time.monotonic() + _PROBE_S)
        return best

    def _is_out(self, server_id: int, route: Route) -> bool:
        now = time.monotonic()
        return now < self._ejected_until.get(server_id, 0.0) or now < self._missing_until.get(
            (server_id, route.version.triton_name), 0.0
        )

    def began(self, server: ServerEntry) -> None:
        """Notes that a request goes to a server that was reached."""
        self.outstanding[server.id] = self.outstanding.get(server.id, 0) + 1

    def ended(self, server: ServerEntry) -> None:
        """Notes that the server is done with it, one way or another."""
        self.outstanding[server.id] -= 1

    def answered(self, server: ServerEntry) -> None:
        """Notes that a server answered, whatever it said."""
        if self.unreachable:
            self.unreachable.pop(server.id, None)
            self._ejected_until.pop(server.id, None)

    def failed(self, server: ServerEntry) -> None:
        """Notes that a server could not be reached, or went away without an answer: others come first for a while."""
        failures = self.unreachable[server.id] = self.unreachable.get(server.id, 0) + 1
        out_s = min(_LONGEST_EJECTION_S, _FIRST_EJECTION_S * 2.0 ** min(failures - 1, 16))
        self._ejected_until[server.id] = time.monotonic() + out_s

    def missing(self, server: ServerEntry, route: Route) -> None:
        """Notes that a server said that it has not the version: others come first for that version for a while."""
        now = time.monotonic()
        self._missing_until = {pair: until for pair, until in self._missing_until.items() if until > now}
        self._missing_until[server.id, route.version.triton_name] = now + MISSING_S
