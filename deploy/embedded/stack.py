"""The embedded stack as data: which processes, in which order, with which environment."""

from __future__ import annotations

import os
from collections.abc import Callable

from deploy.embedded import redis, triton
from deploy.embedded.errors import StackError
from deploy.embedded.layout import PROJECT_DIR, Layout, child_environment
from deploy.embedded.plan import Job, Launch, ProcessSpec, Stage, http_probe, redis_probe

GATEWAY_WORKERS = 2
GATEWAY_DRAIN_S = 25.0
TRITON_EXIT_S = 35.0
"""Triton waits up to 30 s (``--exit-timeout-secs``) for its last requests."""


class EmbeddedStack:
    """Knows how each part of the product is started on one machine."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._inherited = child_environment(os.environ, layout.venv)
        self.memory_prefix = triton.shared_memory_prefix(layout.state_dir)

    def stages(self) -> tuple[Stage, ...]:
        """Everything that `make up` does, in order."""
        return (
            (Job("secrets", self._make_secrets(), "make the secrets"),),
            (self._redis(),),
            (self._manage("migrate", "prepare the database", "migrate", "--no-input", "--verbosity", "1"),),
            (self._manage("bootstrap", "make the first accounts", *self._bootstrap_arguments()),),
            (self._triton(), self._web(), self._controller(), self._worker(), self._beat(), self._gateway()),
            (self._manage("seed", "publish the demo", "seed_demo", timeout_s=300.0),),
        )

    def manage(self, *arguments: str) -> Launch:
        """A command of manage.py with the environment of the stack."""
        return Launch([str(self.layout.python), "manage.py", *arguments], self._control_environment(), PROJECT_DIR)

    def remove_triton_leftovers(self) -> int:
        """Ends stubs without a server and removes their shared memory; only call it when Triton is gone."""
        triton.kill_stubs(self.memory_prefix)
        return triton.remove_shared_memory(self.memory_prefix)

    def _control_environment(self) -> dict[str, str]:
        layout = self.layout
        return {
            **self._inherited,
            "DJANGO_SETTINGS_MODULE": "controlplane.settings",
            "CONTROLPLANE_STATE_DIR": str(layout.state_dir),
            "CONTROLPLANE_SECRETS_DIR": str(layout.secrets_dir),
            "CONTROLPLANE_REDIS_URL": f"unix://{layout.redis_socket}",
            "CONTROLPLANE_GATEWAY_URL": f"http://{layout.ports.http.address}",
            "CONTROLPLANE_GATEWAY_GRPC": layout.ports.grpc.address,
        }

    def _gateway_environment(self) -> dict[str, str]:
        layout = self.layout
        return {
            **self._inherited,
            "GATEWAY_CONTROL_URL": f"http://{layout.ports.web.address}",
            "GATEWAY_STATE_DIR": str(layout.state_dir / "gateway"),
            "GATEWAY_SECRETS_DIR": str(layout.secrets_dir),
            "GATEWAY_HOST": layout.ports.http.host,
            "GATEWAY_HTTP_PORT": str(layout.ports.http.number),
            "GATEWAY_GRPC_PORT": str(layout.ports.grpc.number),
            "GATEWAY_METRICS_PORT": str(layout.ports.metrics.number),
            "GATEWAY_WORKERS": str(GATEWAY_WORKERS),
            "GATEWAY_DRAIN_S": str(GATEWAY_DRAIN_S),
        }

    def _manage(self, name: str, purpose: str, *arguments: str, timeout_s: float = 120.0) -> Job:
        return Job(name, lambda: self.manage(*arguments), purpose, timeout_s)

    def _python(self, *arguments: str) -> Callable[[], Launch]:
        command = [str(self.layout.python), *arguments]
        return lambda: Launch(command, self._control_environment(), PROJECT_DIR)

    def _make_secrets(self) -> Callable[[], Launch]:
        return self._python("-m", "controlplane.secret_files", str(self.layout.secrets_dir))

    def _bootstrap_arguments(self) -> list[str]:
        layout, ports = self.layout, self.layout.ports
        arguments = {
            "--quickstart-env": str(layout.quickstart_env),
            "--triton-http": ports.triton_http.address,
            "--triton-grpc": ports.triton_grpc.address,
            "--triton-metrics": ports.triton_metrics.address,
            "--repository": str(layout.repository),
            "--gateway-url": f"http://{ports.http.address}",
            "--gateway-grpc": ports.grpc.address,
            "--control-url": f"http://{ports.web.address}",
            "--triton-url": f"http://{ports.triton_http.address}",
        }
        return ["bootstrap", *(part for pair in arguments.items() for part in pair)]

    def _redis(self) -> ProcessSpec:
        def launch() -> Launch:
            command = redis.command(self.layout, self._inherited["PATH"])
            return Launch(command, self._inherited, self.layout.redis_dir)

        return ProcessSpec("redis", launch, redis_probe(self.layout.redis_socket))

    def _triton(self) -> ProcessSpec:
        ports = self.layout.ports
        return ProcessSpec(
            "triton",
            self._launch_triton,
            http_probe(ports.triton_http.number, "/v2/health/live"),
            ports=(ports.triton_http.number, ports.triton_grpc.number, ports.triton_metrics.number),
            start_timeout_s=120.0,
            stop_timeout_s=TRITON_EXIT_S,
            clean_up=self.remove_triton_leftovers,
        )

    def _launch_triton(self) -> Launch:
        layout, ports = self.layout, self.layout.ports
        home = layout.state_dir / "triton"
        home.mkdir(mode=0o700, exist_ok=True)
        try:
            environment = triton.TritonEnvironment.from_venv(layout.triton_env)
            command, variables = triton.command(
                environment,
                repository=layout.repository,
                backends=triton.assemble_backends(environment, home / "backends"),
                home=home,
                ports=triton.TritonPorts(
                    ports.triton_http.number, ports.triton_grpc.number, ports.triton_metrics.number
                ),
                control_secret=layout.secrets_dir / "triton_control",
                memory_prefix=self.memory_prefix,
            )
        except (triton.TritonUnavailableError, FileNotFoundError) as error:
            raise StackError(f"Triton cannot be started: {error}") from error
        return Launch(command, variables, home)

    def _web(self) -> ProcessSpec:
        port = self.layout.ports.web.number
        uvicorn = ["-m", "uvicorn", "controlplane.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
        launch = self._python(*uvicorn, "--no-access-log")
        return ProcessSpec("web", launch, http_probe(port, "/ready"), ports=(port,))

    def _controller(self) -> ProcessSpec:
        return ProcessSpec("controller", lambda: self.manage("run_controller"))

    def _worker(self) -> ProcessSpec:
        options = ["--concurrency", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
        launch = self._python("-m", "celery", "-A", "controlplane.celery", "-q", "worker", *options)
        return ProcessSpec("worker", launch, stop_timeout_s=20.0)

    def _beat(self) -> ProcessSpec:
        schedule = str(self.layout.state_dir / "run" / "celerybeat-schedule")
        options = ["--schedule", schedule, "--pidfile=", "--loglevel", "INFO"]
        return ProcessSpec("beat", self._python("-m", "celery", "-A", "controlplane.celery", "-q", "beat", *options))

    def _gateway(self) -> ProcessSpec:
        ports = self.layout.ports
        command = [str(self.layout.python), "-m", "controlplane.gateway"]
        return ProcessSpec(
            "gateway",
            lambda: Launch(command, self._gateway_environment(), PROJECT_DIR),
            http_probe(ports.metrics.number, "/ready"),
            ports=(ports.http.number, ports.grpc.number, ports.metrics.number),
            stop_timeout_s=GATEWAY_DRAIN_S + 5.0,
        )
