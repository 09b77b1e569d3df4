"""docker-compose.yml cannot be run where the tests run: here everything that it names is looked up in the code."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import grimp
import pytest

from controlplane.env import PROJECT_DIR, GatewaySettings
from controlplane.fleet.triton import CONTROL_HEADER
from deploy.embedded import triton as embedded_triton
from tests.deploy.compose_rules import CONTROL, GATEWAY, SECRETS, TRITON, Project, Service, load, problems, words

START_TRITON = PROJECT_DIR / "deploy" / "docker" / "start-triton.sh"


@pytest.fixture
def project() -> Project:
    return Project(load())


def _long_running(project: Project) -> dict[str, Service]:
    return {name: service for name, service in project.services.items() if service["restart"] != "no"}


def test_everything_the_compose_file_names_exists(project: Project) -> None:
    assert problems(project) == []


Change = Callable[[dict[str, Any]], None]


def _service(name: str, change: Change) -> Change:
    return lambda compose: change(compose["services"][name])


def _rename(key: str, old: str, new: str) -> Change:
    def change(service: dict[str, Any]) -> None:
        part = dict(service[key])
        part[new] = part.pop(old)
        service[key] = part

    return change


def _replace(key: str, old: str, new: str) -> Change:
    def change(service: dict[str, Any]) -> None:
        assert any(old in str(item) for item in service[key])
        service[key] = [str(item).replace(old, new) for item in service[key]]

    return change


def _health(old: str, new: str) -> Change:
    def change(service: dict[str, Any]) -> None:
        check = dict(service["healthcheck"])
        assert any(old in word for word in check["test"])
        check["test"] = [word.replace(old, new) for word in check["test"]]
        service["healthcheck"] = check

    return change


def _set(key: str, value: object) -> Change:
    def change(service: dict[str, Any]) -> None:
        service[key] = value

    return change


def _environment(variable: str, value: str) -> Change:
    def change(service: dict[str, Any]) -> None:
        service["environment"] = {**service["environment"], variable: value}

    return change


MUTATIONS: dict[str, tuple[Change, str]] = {
    "a setting": (
        _service("web", _rename("environment", "CONTROLPLANE_REDIS_URL", "CONTROLPLANE_REDIS")),
        "web: nothing reads CONTROLPLANE_REDIS",
    ),
    "a setting of the other program": (
        _service("web", _environment("GATEWAY_WORKERS", "2")),
        "web: nothing reads GATEWAY_WORKERS",
    ),
    "a setting's value": (_service("gateway", _environment("GATEWAY_WORKERS", "many")), "gateway: workers: "),
    "an operator's variable": (
        _service("gateway", _environment("GATEWAY_NAME", "${GATEWAY_TITLE:-x}")),
        "gateway: the operator's variable GATEWAY_TITLE is no setting",
    ),
    "a password in a variable": (
        _service("web", _environment("CONTROLPLANE_DATABASE_URL", "postgres://a:b@postgres:5432/c")),
        "web: the database URL names no password file",
    ),
    "a variable of a foreign image": (
        _service("postgres", _rename("environment", "POSTGRES_DB", "POSTGRES_NAME")),
        "postgres: nothing reads POSTGRES_NAME",
    ),
    "a management command": (
        _service("controller", _replace("command", "run_controller", "run_controllers")),
        "controller: manage.py has no command run_controllers",
    ),
    "an argument of one": (
        _service("init", _replace("command", "--gateway-grpc", "--gateway-rpc")),
        "init: manage.py bootstrap: ",
    ),
    "an ASGI application": (
        _service("web", _replace("command", "asgi:application", "asgi:app")),
        'web: uvicorn: Attribute "app" not found',
    ),
    "an option of uvicorn": (
        _service("web", _replace("command", "--no-access-log", "--no-log")),
        "web: uvicorn: No such option",
    ),
    "a Celery application": (
        _service("worker", _replace("command", "controlplane.celery", "controlplane.tasks")),
        "worker: celery: No module named 'controlplane.tasks'",
    ),
    "an option of Celery": (
        _service("beat", _replace("command", "--max-interval", "--interval")),
        "beat: celery: No such option",
    ),
    "a module": (
        _service("gateway", _replace("command", "controlplane.gateway", "controlplane.proxy")),
        "gateway: there is no module controlplane.proxy",
    ),
    "a module of the other image": (
        _service("gateway", _set("command", ["python", "-m", "deploy.docker.alive", "beat"])),
        "gateway: its image holds no deploy/docker/alive.py",
    ),
    "an action": (
        _service("secrets", _replace("command", "make", "generate")),
        "secrets: deploy.docker.secret_volumes does not take 'generate'",
    ),
    "a script": (
        _service("triton", _replace("command", "start-triton.sh", "run-triton.sh")),
        "triton: /etc/controlplane/run-triton.sh is not mounted",
    ),
    "a mounted file": (
        _service("triton", _replace("volumes", "./deploy/docker/start-triton.sh", "./deploy/docker/start.sh")),
        "triton: it mounts ./deploy/docker/start.sh, which does not exist",
    ),
    "a route": (_service("web", _health("/ready", "/readiness")), "web: nothing answers at /readiness"),
    "a page of the gateway": (_service("gateway", _health("/ready", "/health")), "gateway: nothing answers at /health"),
    "a checked port": (
        _service("gateway", _environment("GATEWAY_METRICS_PORT", "9002")),
        "gateway: its health check asks port 8002 and the process answers at 9002",
    ),
    "Triton's port": (
        _service("triton-cpu", _replace("command", "--http-port=8000", "--http-port=8100")),
        "triton-cpu: its health check asks port 8000 and the process answers at 8100",
    ),
    "a published port": (_service("gateway", _set("ports", ["8009:8009"])), "gateway: port 8009:8009 is published"),
    "the admin site on every address": (_service("web", _set("ports", ["8080:8080"])), "web: port 8080:8080 is publ"),
    "a published Triton": (_service("triton", _set("ports", ["8000:8000"])), "triton: port 8000:8000 is published"),
    "an address": (
        _service("gateway", _environment("GATEWAY_CONTROL_URL", "http://control:8080")),
        "gateway: control:8080 is no service",
    ),
    "an address' port": (
        _service("init", _replace("command", "triton:8001", "triton:9001")),
        "init: triton does not listen on 9001",
    ),
    "a volume": (_service("redis", _replace("volumes", "redis-data", "redis")), "redis: there is no volume redis"),
    "a volume of secrets": (
        _service("gateway", _replace("volumes", "gateway-secrets:", "gateway-state:")),
        "gateway: its secrets are not mounted at /run/secrets",
    ),
    "a secret": (
        _service("postgres", _environment("POSTGRES_PASSWORD_FILE", "/run/secrets/password")),
        "postgres: it has no secret password",
    ),
    "Triton's secret": (
        _service("triton", _replace("command", "/triton_control", "/triton_secret")),
        "triton: it has no secret triton_secret",
    ),
    "a Dockerfile": (
        _service("web", _set("build", {"context": ".", "dockerfile": "deploy/docker/web.Dockerfile"})),
        "web: there is no deploy/docker/web.Dockerfile",
    ),
    "a floating tag": (_service("redis", _set("image", "redis:latest")), "redis: image redis:latest is not pinned"),
    "the Triton that is not to be used": (
        _service("triton", _set("image", "nvcr.io/nvidia/tritonserver:24.10-py3")),
        "triton: Triton 24.10 is not to be used",
    ),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_name_that_the_code_does_not_have_is_reported(what: str) -> None:
    change, expected = MUTATIONS[what]
    compose = deepcopy(load())
    change(compose)
    assert any(problem.startswith(expected) for problem in problems(Project(compose))), problems(Project(compose))


@pytest.mark.parametrize("image", [CONTROL, GATEWAY])
def test_a_copied_file_that_is_gone_is_reported(project: Project, tmp_path: Path, image: str) -> None:
    name = f"deploy/docker/{image}.Dockerfile"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text((PROJECT_DIR / name).read_text())
    (tmp_path / ".dockerignore").write_text("*\n!controlplane\n")
    (tmp_path / "controlplane").mkdir()
    (tmp_path / "pyproject.toml").touch()
    service = next(s for s in project.services.values() if s.get("build", {}).get("dockerfile") == name)
    bare = {**service, "command": [], "healthcheck": {"test": []}, "restart": "no", "environment": {}}
    bare.update(ports=[], volumes=[])
    found = problems(Project({"services": {"it": bare}, "volumes": {}}, tmp_path))
    assert f"it: {image}.Dockerfile copies LICENSE, which does not exist" in found
    assert f"it: {image}.Dockerfile copies pyproject.toml, which .dockerignore keeps out" in found


def test_each_image_installs_its_own_lock_and_no_other(project: Project) -> None:
    for kind, service in ((CONTROL, project.services["web"]), (GATEWAY, project.services["gateway"])):
        assert project.dockerfile(service).locks == {f"{kind}.lock", "setuptools.lock"}


def test_the_pin_of_setuptools_is_found_in_the_lock(project: Project) -> None:
    steps = next(rest for key, rest in project.dockerfile(project.services["web"]).instructions if "sed -n" in rest)
    script = steps.partition("sed -n '")[2].partition("'")[0]
    lock = PROJECT_DIR / "requirements" / "embedded.lock"
    found = subprocess.run(["sed", "-n", script, lock], capture_output=True, text=True, check=True).stdout
    assert found.startswith("setuptools==")
    assert found.count("--hash=") == len(found.splitlines()) - 1 > 0


def test_the_gateway_image_holds_all_that_the_gateway_imports(project: Project) -> None:
    dockerfile = project.dockerfile(project.services["gateway"])
    graph = grimp.build_graph("controlplane", cache_dir=None)
    programs = {"controlplane.gateway", *graph.find_descendants("controlplane.gateway")}
    needed = programs.union(*(graph.find_upstream_modules(program) for program in programs))
    paths = [module.replace(".", "/") for module in needed]
    files = [f"{path}.py" if (PROJECT_DIR / f"{path}.py").is_file() else f"{path}/__init__.py" for path in paths]
    assert [file for file in files if not dockerfile.holds(file)] == []


def test_both_tritons_have_the_flags_of_the_embedded_one(project: Project, tmp_path: Path) -> None:
    environment = embedded_triton.TritonEnvironment(tmp_path, "3.12", tmp_path, tmp_path)
    embedded, _ = embedded_triton.command(
        environment,
        repository="repository",
        backends=tmp_path,
        home=tmp_path,
        ports=embedded_triton.TritonPorts(1, 2, 3),
        control_secret="s" * 16,
        memory_prefix="x",
    )
    decided = {
        flag for flag in embedded if flag.startswith(("--model-c", "--load", "--strict", "--exit-on", "--disable"))
    }
    assert len(decided) == 5
    for name in ("triton", "triton-cpu"):
        assert decided <= set(words(project.services[name]))


def test_the_tritons_differ_only_in_their_gpus(project: Project) -> None:
    gpu, cpu = dict(project.services["triton"]), dict(project.services["triton-cpu"])
    assert (gpu.pop("profiles"), cpu.pop("profiles")) == (["gpu"], ["cpu"])
    devices = gpu.pop("deploy")["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert gpu == cpu
    assert gpu["networks"] == {"serving": {"aliases": ["triton"]}}


def test_triton_reads_the_repository_that_the_workers_write(project: Project) -> None:
    (repository,) = {word.partition("=")[2] for word in words(project.services["init"]) if "--repository=" in word}
    assert f"--model-repository={repository}" in words(project.services["triton"])
    # Staging and attic lie beside the repository and must be on the same volume.
    mount = str(Path(repository).parent)
    assert f"models:{mount}" in project.services["worker"]["volumes"]
    assert f"models:{mount}" in project.services["init"]["volumes"]
    assert f"models:{mount}:ro" in project.services["triton"]["volumes"]


def test_the_start_script_closes_the_control_api(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("abcdefgh-ABCDEFGH_1234\n")
    command: list[str | Path] = ["bash", START_TRITON, secret, "printf", "%s\n", "--load-model=*"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rule = f"{','.join(embedded_triton.RESTRICTED_APIS)}:{CONTROL_HEADER}=abcdefgh-ABCDEFGH_1234"
    assert printed == ["--load-model=*", f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"]
    assert embedded_triton.CONTROL_HEADER == CONTROL_HEADER


@pytest.mark.parametrize("secret", [None, "", "short", "abcdefgh,statistics:x=y"])
def test_the_start_script_refuses_a_secret_that_would_not_close_it(tmp_path: Path, secret: str | None) -> None:
    file = tmp_path / "secret"
    if secret is not None:
        file.write_text(secret)
    done = subprocess.run(
        ["bash", START_TRITON, file, "printf", "started"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert not secret or secret not in done.stderr


def _reachable(project: Project, one: str, other: str) -> bool:
    return bool(set(project.services[one].get("networks", [])) & set(project.services[other].get("networks", [])))


def test_clients_reach_the_gateway_and_nothing_else(project: Project) -> None:
    on_edge = [name for name, service in project.services.items() if "edge" in service.get("networks", [])]
    assert on_edge == ["gateway"]
    assert {name for name in project.services if _reachable(project, name, "triton")} == {
        *("triton", "triton-cpu", "gateway", "controller", "worker")
    }
    assert not _reachable(project, "gateway", "postgres")
    assert not _reachable(project, "gateway", "redis")
    assert _reachable(project, "gateway", "web")
    internal = {name for name, network in project.compose["networks"].items() if network.get("internal")}
    assert internal == {"serving", "data"}


def test_every_container_is_confined(project: Project) -> None:
    for name, service in project.services.items():
        assert service["user"].partition(":")[0] not in {"0", "root"}, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


def test_secrets_are_mounted_for_reading_wherever_they_are_not_made(project: Project) -> None:
    for name, service in project.services.items():
        if name not in {"secrets", "init"}:
            mounts = [volume for volume in service.get("volumes", []) if volume.split(":")[0] in SECRETS]
            assert all(mount.endswith(":/run/secrets:ro") for mount in mounts), name
            assert len(mounts) == (name != "redis"), name


def test_what_runs_is_restarted_and_what_is_waited_for_can_be(project: Project) -> None:
    running = _long_running(project)
    assert set(project.services) - set(running) == {"secrets", "migrate", "init"}
    assert {service["restart"] for service in running.values()} == {"unless-stopped"}
    for name, service in project.services.items():
        for other, wait in service.get("depends_on", {}).items():
            done = wait["condition"] == "service_completed_successfully"
            assert done is (other not in running), f"{name} waits for {other}"


def test_a_gateway_starts_without_the_control_plane(project: Project) -> None:
    assert set(project.services["gateway"]["depends_on"]) == {"init"}


def test_containers_get_the_time_that_their_processes_take_to_stop(project: Project) -> None:
    gateway = project.services["gateway"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) > float(gateway["environment"]["GATEWAY_DRAIN_S"]) + 10
    assert float(gateway["environment"]["GATEWAY_DRAIN_S"]) == GatewaySettings.model_fields["drain_s"].default
    assert project.services["triton"]["stop_grace_period"] == "40s"
    assert "--exit-timeout-secs=30" in words(project.services["triton"])


def test_the_compose_file_knows_these_programs(project: Project) -> None:
    assert {project.kind(service) for service in project.services.values()} == {
        *(CONTROL, GATEWAY, TRITON, "postgres", "redis")
    }
