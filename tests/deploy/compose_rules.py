"""What docker-compose.yml says, held against the code: each rule yields a sentence for everything that does not exist.

Docker is not needed. A rule looks a name up where it is defined, so renaming it there makes the rule speak.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import yaml
from celery import Celery
from celery.bin.celery import celery as celery_command
from django.core.management import CommandError, get_commands, load_command_class
from django.urls import Resolver404, resolve
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from uvicorn.importer import ImportFromStringError, import_from_string
from uvicorn.main import main as uvicorn_command

from controlplane.database import database_from_url
from controlplane.env import PROJECT_DIR, ControlSettings, GatewaySettings
from deploy.docker import alive, secret_volumes
from tests.deploy.dockerfile import Dockerfile, is_sent

Service = dict[str, Any]

CONTROL, GATEWAY, TRITON = "control", "gateway", "triton"
FOREIGN_VARIABLES = {
    CONTROL: {"TMPDIR"},  # Python
    GATEWAY: set[str](),
    TRITON: {"HOME"},
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE"},
    "redis": set[str](),
}
"""Variables that the images themselves know."""
SETTINGS: dict[str, type[BaseSettings]] = {CONTROL: ControlSettings, GATEWAY: GatewaySettings}
CONTROL_SECRETS = {"secret_key", "pepper", "triton_control", "snapshot_key.pem", "snapshot_public.pem", "gateway_token"}
CONTROL_SECRETS |= {"publisher_key.pem", "publisher_public.pem"}
SECRETS = {
    "control-secrets": {*CONTROL_SECRETS, secret_volumes.PGPASS},
    "gateway-secrets": {*secret_volumes.GATEWAY_SECRETS},
    "triton-secrets": {*secret_volumes.TRITON_SECRETS},
    "postgres-secrets": {secret_volumes.PASSWORD_FILE},
}
"""Volume -> what lies in it when everything has started; a test makes them and looks."""
_TRITON_HEALTH = "/v2/health/live"
_PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_SECRET_PATH = re.compile(r"/run/secrets/([\w.]+)")


@dataclass(frozen=True)
class Project:
    """A compose file and the tree it stands in."""

    compose: dict[str, Any]
    root: Path = PROJECT_DIR

    @property
    def services(self) -> dict[str, Service]:
        """The services by name."""
        services: dict[str, Service] = self.compose["services"]
        return services

    def kind(self, service: Service) -> str:
        """Which program the service's image holds."""
        repository: str = service["image"].rpartition(":")[0].rpartition("/")[2]
        return {"tritonserver": TRITON}.get(repository, repository)

    def dockerfile(self, service: Service) -> Dockerfile:
        """What the service's image is built from; without instructions where the file is missing."""
        path = self.root / service["build"]["dockerfile"]
        return Dockerfile.read(path) if path.is_file() else Dockerfile([])


def load(path: Path = PROJECT_DIR / "docker-compose.yml") -> dict[str, Any]:
    """The compose file, not yet with its variables filled in."""
    compose: dict[str, Any] = yaml.safe_load(path.read_text())
    return compose


def problems(project: Project) -> list[str]:
    """Everything that the compose file names and the code does not have."""
    found = [f"{name}: {problem}" for rule in RULES for name, problem in rule(project)]
    return sorted(set(found))


def fill_in(text: str) -> str:
    """A value as Compose hands it to a container when no variable of the operator is set."""
    return _VARIABLE.sub(lambda match: match[2] or "", text).replace("$$", "$")


def words(service: Service, key: str = "command") -> list[str]:
    """A command as the container gets it."""
    return [fill_in(str(word)) for word in service.get(key, [])]


Found = Iterator[tuple[str, str]]


def images_are_pinned_and_built_from_what_exists(project: Project) -> Found:
    for name, service in project.services.items():
        if not _PINNED.fullmatch(service["image"]):
            yield name, f"image {service['image']} is not pinned"
        if project.kind(service) == TRITON and service["image"].endswith(":24.10-py3"):
            yield name, "Triton 24.10 is not to be used"
        if "build" in service:
            yield from ((name, problem) for problem in _build_problems(project, service["build"]))


def _build_problems(project: Project, build: dict[str, str]) -> Iterator[str]:
    context, path = project.root / build["context"], project.root / build["dockerfile"]
    if not path.is_file():
        yield f"there is no {build['dockerfile']}"
        return
    dockerfile = Dockerfile.read(path)
    for source in dockerfile.sources:
        if not (context / source).exists():
            yield f"{path.name} copies {source}, which does not exist"
        elif not is_sent(source, project.root / ".dockerignore"):
            yield f"{path.name} copies {source}, which .dockerignore keeps out"
    for base in dockerfile.bases:
        if not _PINNED.fullmatch(base):
            yield f"{path.name} starts from {base}, which is not pinned"
    if dockerfile.user.partition(":")[0] in {"", "0", "root"}:
        yield f"{path.name} runs as root"


def commands_exist(project: Project) -> Found:
    for name, service in project.services.items():
        health = [str(word) for word in service.get("healthcheck", {}).get("test", [])]
        if health[:1] == ["CMD"]:
            yield from ((name, problem) for problem in _command_problems(project, service, health[1:]))
        elif health[:1] == ["CMD-SHELL"] and health[1].startswith("python"):
            yield from ((name, problem) for problem in _command_problems(project, service, shlex.split(health[1])))
        if "command" in service:
            yield from ((name, problem) for problem in _command_problems(project, service, words(service)))


def _command_problems(project: Project, service: Service, command: list[str]) -> Iterator[str]:
    match command:
        case ["python", "manage.py", *arguments] | ["sh", "deploy/docker/init.sh", *arguments]:
            yield from _missing_from_image(project, service, command[1])
            yield from _manage_problems(arguments)
        case ["python", "-m", "uvicorn", *arguments]:
            yield from _uvicorn_problems(arguments)
        case ["python", "-m", "celery", *arguments]:
            yield from _celery_problems(arguments)
        case ["python", "-m", module, *arguments]:
            yield from _module_problems(project, service, module, arguments)
        case ["bash", script, *_]:
            if script not in {volume.split(":")[1] for volume in service["volumes"]}:
                yield f"{script} is not mounted"
        case ["python" | "python3", "-c", _] | ["redis-server", *_] | ["pg_isready", *_]:
            pass
        case _:
            yield f"nobody knows the command {' '.join(command)!r}"


def _manage_problems(arguments: list[str]) -> Iterator[str]:
    name, *options = arguments
    if name not in get_commands():
        yield f"manage.py has no command {name}"
        return
    command = load_command_class(get_commands()[name], name)
    try:
        command.create_parser("manage.py", name).parse_args(options)
    except CommandError as error:
        yield f"manage.py {name}: {error}"


def _uvicorn_problems(arguments: list[str]) -> Iterator[str]:
    try:
        application = uvicorn_command.make_context("uvicorn", list(arguments)).params["app"]
        import_from_string(application)
    except (click.UsageError, ImportFromStringError) as error:
        yield f"uvicorn: {error}"


def _celery_problems(arguments: list[str]) -> Iterator[str]:
    try:
        options, rest, _ = celery_command.make_parser(click.Context(celery_command)).parse_args(list(arguments))
        if not isinstance(getattr(importlib.import_module(options["app"]), "app", None), Celery):
            yield f"{options['app']} has no Celery application `app`"
        command = celery_command.commands[rest[0]]
        command.make_parser(click.Context(command)).parse_args(rest[1:])
    except (click.UsageError, ImportError, KeyError) as error:
        yield f"celery: {error}"


def _module_problems(project: Project, service: Service, module: str, arguments: list[str]) -> Iterator[str]:
    path = module.replace(".", "/")
    candidates = [f"{path}.py", f"{path}/__main__.py"]
    file = next((candidate for candidate in candidates if (project.root / candidate).is_file()), None)
    if file is None:
        yield f"there is no module {module}"
        return
    yield from _missing_from_image(project, service, file)
    programs = {"deploy.docker.secret_volumes": secret_volumes.parser, "deploy.docker.alive": alive.parser}
    if module in programs:
        try:
            programs[module]().parse_args(arguments)
        except SystemExit:
            yield f"{module} does not take {' '.join(arguments)!r}"
    elif arguments:
        yield f"{module} takes no arguments"


def _missing_from_image(project: Project, service: Service, path: str) -> Iterator[str]:
    dockerfile = project.dockerfile(service)
    if not (project.root / path).exists() or not dockerfile.holds(path):
        yield f"its image holds no {path}"


def variables_are_settings(project: Project) -> Found:
    for name, service in project.services.items():
        kind = project.kind(service)
        prefix = SETTINGS[kind].model_config["env_prefix"] if kind in SETTINGS else ""
        values: dict[str, Any] = {}
        for variable, value in service.get("environment", {}).items():
            field = variable.removeprefix(prefix).lower()
            if prefix and variable.startswith(prefix) and field in SETTINGS[kind].model_fields:
                values[field] = fill_in(str(value))
            elif variable not in FOREIGN_VARIABLES[kind]:
                yield name, f"nothing reads {variable}"
            yield from ((name, problem) for problem in _interpolated(str(value)))
        yield from ((name, problem) for problem in _setting_problems(kind, values))
        yield from ((name, problem) for word in service.get("command", []) for problem in _interpolated(str(word)))


def _interpolated(text: str) -> Iterator[str]:
    known = {
        f"{settings.model_config['env_prefix']}{field}".upper()
        for settings in SETTINGS.values()
        for field in settings.model_fields
    }
    for variable, _ in _VARIABLE.findall(text):
        if variable not in known:
            yield f"the operator's variable {variable} is no setting"


def _setting_problems(kind: str, values: dict[str, Any]) -> Iterator[str]:
    if kind not in SETTINGS:
        return
    try:
        SETTINGS[kind].model_validate(values)
    except ValidationError as error:
        yield from (f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
    if kind == CONTROL and values and "passfile" not in database_from_url(values.get("database_url", ""))["OPTIONS"]:
        yield "the database URL names no password file"


def health_checks_ask_what_answers(project: Project) -> Found:
    for name, service in project.services.items():
        if service["restart"] == "no":
            continue
        if "healthcheck" not in service:
            yield name, "it has no health check"
            continue
        for url in re.findall(r"http://[^'\"]+", " ".join(map(str, service["healthcheck"]["test"]))):
            parts = urlsplit(url)
            port, answers = _listener(project, service)
            if parts.port != port:
                yield name, f"its health check asks port {parts.port} and the process answers at {port}"
            if not answers(parts.path):
                yield name, f"nothing answers at {parts.path}"


def _listener(project: Project, service: Service) -> tuple[int, Callable[[str], bool]]:
    """The port whose health is asked, and whether a path is answered there."""
    match project.kind(service):
        case "gateway":
            port = service["environment"].get(
                "GATEWAY_METRICS_PORT", GatewaySettings.model_fields["metrics_port"].default
            )
            return int(port), _status_pages().__contains__
        case "triton":
            return triton_port(service, "http"), _TRITON_HEALTH.__eq__
        case _:
            command = words(service)
            return int(command[command.index("--port") + 1]), _is_route


def _is_route(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def _status_pages() -> set[str]:
    """The paths that the gateway's agent serves: the keys of the mapping it gives its `StatusServer`."""
    source = (PROJECT_DIR / "controlplane" / "gateway" / "agent" / "agent.py").read_text()
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    pages = next(call.args[0] for call in calls if ast.unparse(call.func) == "StatusServer")
    assert isinstance(pages, ast.Dict)
    return {str(ast.literal_eval(key)) for key in pages.keys if key is not None}


def triton_port(service: Service, protocol: str) -> int:
    """The port that the arguments give to `http`, `grpc` or `metrics`."""
    option = f"--{protocol}-port="
    return int(next(word.removeprefix(option) for word in words(service) if word.startswith(option)))


def published_ports_are_listened_on(project: Project) -> Found:
    for name, service in project.services.items():
        kind = project.kind(service)
        for published in service.get("ports", []):
            *host, _, port = str(published).split(":")
            if kind == GATEWAY and int(port) in {
                GatewaySettings.model_fields[f"{p}_port"].default for p in ("http", "grpc")
            }:
                continue
            if name == "web" and host == ["127.0.0.1"] and int(port) == _listener(project, service)[0]:
                continue
            yield name, f"port {published} is published and should not be, or nothing listens there"


def addresses_lead_to_services(project: Project) -> Found:
    for name, service in project.services.items():
        values = [fill_in(str(value)) for value in service.get("environment", {}).values()]
        values += [word.partition("=")[2] for word in words(service) if word.startswith("--") and "=" in word]
        for host, port in re.findall(r"(?:^|//|@)([a-z-]+):(\d+)(?=/|$)", "\n".join(values), re.MULTILINE):
            if host not in project.services:
                yield name, f"{host}:{port} is no service"
            elif int(port) not in _open_ports(project, project.services[host]):
                yield name, f"{host} does not listen on {port}"


def _open_ports(project: Project, service: Service) -> set[int]:
    match project.kind(service):
        case "triton":
            return {triton_port(service, protocol) for protocol in ("http", "grpc", "metrics")}
        case "postgres":
            return {5432}
        case "redis":
            return {6379}
        case _:
            return {_listener(project, service)[0]}


def volumes_and_secrets_exist(project: Project) -> Found:
    used = set()
    for name, service in project.services.items():
        secrets = set()
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                if not (project.root / source).exists():
                    yield name, f"it mounts {source}, which does not exist"
                continue
            used.add(source)
            if source not in project.compose["volumes"]:
                yield name, f"there is no volume {source}"
            secrets |= SECRETS.get(source, set()) if target == "/run/secrets" else set()
        text = "\n".join([*words(service), *map(str, service.get("environment", {}).values())])
        if "/run/secrets" in text and not secrets >= SECRETS[f"{project.kind(service)}-secrets"]:
            yield name, "its secrets are not mounted at /run/secrets"
        for secret in _SECRET_PATH.findall(text):
            if secret not in secrets:
                yield name, f"it has no secret {secret}"
    yield from ((volume, "nobody mounts this volume") for volume in set(project.compose["volumes"]) - used)


RULES = (
    images_are_pinned_and_built_from_what_exists,
    commands_exist,
    variables_are_settings,
    health_checks_ask_what_answers,
    published_ports_are_listened_on,
    addresses_lead_to_services,
    volumes_and_secrets_exist,
)
