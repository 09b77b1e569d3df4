"""A real web process of the control plane, with a state folder and a database of its own.

There is no worker, no Redis and no Triton behind it: what is asked for is written down and stays.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.secret_files import init_secrets
from tests.support.models import scaling_graph
from tests.support.services import free_port, running

ROOT = Path(__file__).resolve().parents[2]
COMMAND_TIMEOUT_S = 60

# What cannot be asked for by REST before there is a token; and a pool with a server where nothing listens.
BEGINNING = """
import json
from controlplane.access.services import ensure_defaults
from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.services import create_user, issue_token
from controlplane.audit.domain import system_actor
from controlplane.fleet.services import register_pool, register_server
actor = system_actor("tests")
ensure_defaults(actor)
tokens = {"gateway": issue_token(actor, name="gateway", scope=TokenScope.GATEWAY).secret}
for role in (Role.OWNER, Role.VIEWER):
    user = create_user(actor, username=role.value, password="correct horse battery", role=role)
    tokens[role.value] = issue_token(actor, name="tests", scope=TokenScope.CONTROL, user=user).secret
pool = register_pool(actor, slug="default", title="Default", repository=REPOSITORY)
register_server(actor, pool=pool, name="t1", http_address="127.0.0.1:1", grpc_address="127.0.0.1:2")
print(json.dumps(tokens))
"""


@dataclass(frozen=True)
class Web:
    """A running web process.

    Attributes:
        url: its base URL.
        tokens: ``owner``, ``viewer``: control tokens of people in these roles; ``gateway``: a gateway's.
        environment: what its processes were started with.
        process: the process itself.
        log: what it has printed.
    """

    url: str
    tokens: dict[str, str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def admin_token(self) -> str:
        return self.tokens["owner"]

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call of the REST API with the owner's token."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, trust_env=False, **options)

    def run_publication(self, publication_id: int) -> None:
        """Does what a worker would do: the real steps, up to the one that needs a Triton."""
        code = f"from controlplane.fleet.publishing import run_publication; run_publication({publication_id})"
        _manage(self.environment, "shell", "--verbosity=0", "--command", code)

    def run_import(self, import_id: int) -> None:
        """Does what a worker would do."""
        code = f"from controlplane.registry.import_jobs import run_import; run_import({import_id})"
        _manage(self.environment, "shell", "--verbosity=0", "--command", code)

    @contextmanager
    def killed_and_started_again(self) -> Iterator[Web]:
        """The same control plane after a kill -9 of its process; it stops when the block ends."""
        self.process.kill()
        self.process.wait()
        log = self.log.with_name(f"{self.log.stem}-again.log")
        with _serving(self.environment, self.url, log) as process:
            yield replace(self, process=process, log=log)

    def add_version(self, semver: str = "1.0.0", *, slug: str | None = None) -> str:
        """Uploads a version of a model, which is registered where it does not exist; returns the model's name."""
        name = slug or f"model-{secrets.token_hex(4)}"
        self.call("POST", "/api/models", json={"slug": name, "title": "A model [bold]of tests[/bold]"})
        files = {"file": ("model.onnx", scaling_graph())}
        form = {"semver": semver, "metrics": json.dumps({"accuracy": 0.97})}
        answer = self.call("POST", f"/api/models/{name}/versions", data=form, files=files)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return name


@contextmanager
def running_web(state_dir: Path, **settings: str) -> Iterator[Web]:
    """A control plane that answers, migrated and with its first people; `settings` are more environment variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONTROLPLANE_")}
    environment = inherited | {
        "CONTROLPLANE_STATE_DIR": str(state_dir),
        "CONTROLPLANE_REDIS_URL": f"unix://{state_dir}/no-redis.sock",
        **settings,
    }
    init_secrets(state_dir / "secrets")
    _manage(environment, "migrate", "--verbosity=0")
    repository = state_dir / "repository"
    repository.mkdir()
    beginning = BEGINNING.replace("REPOSITORY", repr(str(repository)))
    tokens = json.loads(_manage(environment, "shell", "--verbosity=0", "--command", beginning))
    url, log = f"http://127.0.0.1:{free_port()}", state_dir / "web.log"
    with _serving(environment, url, log) as process:
        yield Web(url, tokens, environment, process, log)


@contextmanager
def _serving(environment: dict[str, str], url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    port = url.rpartition(":")[2]

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    command = [sys.executable, "-m", "uvicorn", "controlplane.asgi:application", "--port", port]
    with running(command, answers, log, signal.SIGTERM, cwd=ROOT, env=environment) as process:
        yield process


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A control plane that the tests of a session share: give models and keys names of their own."""
    with running_web(tmp_path_factory.mktemp("web")) as process:
        yield process


def _manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S
    )
    if done.returncode != 0:
        pytest.fail(f"manage.py {arguments[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout
