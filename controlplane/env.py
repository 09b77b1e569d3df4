"""The only reader of environment variables.

Every setting has a name, a type and a default here; nothing else in the project touches ``os.environ``. Secrets are
never settings: they are files in a directory, so that they appear in no process list and no crash report.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PROJECT_DIR = Path(__file__).resolve().parent.parent


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class SecretFiles:
    """The named secrets of one host: files of mode 0600 in one directory (Docker's ``/run/secrets`` fits)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> Path:
        """Where the secret of that name lies."""
        return self.directory / name

    def read(self, name: str) -> bytes:
        """The secret, without the white space around it.

        Raises:
            FileNotFoundError: it was never generated; the message says how to.
        """
        try:
            return self.path(name).read_bytes().strip()
        except FileNotFoundError:
            raise FileNotFoundError(
                f"The secret {name!r} is missing from {self.directory}: "
                f"run `python -m controlplane.secret_files {self.directory}`."
            ) from None


class ControlSettings(BaseSettings):
    """Settings of the control plane's processes: web, controller, worker, beat."""

    model_config = SettingsConfigDict(env_prefix="CONTROLPLANE_", extra="ignore")

    state_dir: Path = PROJECT_DIR / "var"
    """Where the embedded stack keeps its state; the defaults below lie in it."""
    secrets_dir: Path | None = None
    database_url: str = ""
    """``postgres://user:password@host:port/name`` or ``sqlite:///absolute/path``; empty: SQLite in the state folder."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    artifact_dir: Path | None = None
    """The content-addressed store, shared by web and workers."""
    upload_max_bytes: int = Field(default=20 * 2**30, ge=1)
    """How large one uploaded file may be."""
    uploads_per_person: int = Field(default=100, ge=1)
    """How many uploads that are not yet used one person may have."""
    upload_lifetime_s: int = Field(default=86_400, ge=1)
    """How long an upload waits for its next byte, and a complete one for its use."""
    import_paths: Annotated[list[Path], NoDecode] = []
    """Folders of the workers' machine from which versions may be imported; empty: none."""
    allowed_hosts: Annotated[list[str], NoDecode] = ["localhost", "127.0.0.1", "[::1]"]
    csrf_trusted_origins: Annotated[list[str], NoDecode] = []
    secure_cookies: bool = False
    """True where browsers reach the admin by HTTPS."""
    gateway_url: str = "http://127.0.0.1:8000"
    """Where clients reach the gateway; shown in snippets."""
    gateway_grpc: str = "127.0.0.1:8001"
    log_level: str = "INFO"
    debug: bool = False

    split_lists = field_validator("allowed_hosts", "csrf_trusted_origins", "import_paths", mode="before")(_split)

    @property
    def secrets(self) -> SecretFiles:
        """The secret files of this host."""
        return SecretFiles(self.secrets_dir or self.state_dir / "secrets")

    @property
    def artifacts(self) -> Path:
        """The folder of the artifact store."""
        return self.artifact_dir or self.state_dir / "artifacts"


class GatewaySettings(BaseSettings):
    """Settings of the gateway's processes."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore")

    name: str = "gateway"
    """Unique among the gateways of one control plane; the host's name is a good choice."""
    control_url: str = "http://127.0.0.1:8080"
    state_dir: Path = PROJECT_DIR / "var" / "gateway"
    """Journals and the last-known-good snapshot."""
    secrets_dir: Path = PROJECT_DIR / "var" / "secrets"
    """Holds ``gateway_token``, ``pepper`` and ``snapshot_public.pem``."""
    host: str = "0.0.0.0"  # noqa: S104 - the gateway is the public face
    http_port: int = Field(default=8000, ge=0, le=65535)
    grpc_port: int = Field(default=8001, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=8002, ge=0, le=65535)
    workers: int = Field(default=2, ge=1, le=64)
    max_orders_age_s: float | None = None
    """How old the orders may become before the gateway stops serving; None: it serves on."""
    drain_s: float = 25.0
    """How long a stopping worker waits for its requests."""
    log_level: str = "INFO"
    max_held_bytes: int = Field(default=512 * 1024 * 1024, ge=1024 * 1024)
    """How much of all request bodies that must be read as a whole a worker holds at once."""
    access_log_ratio: float = Field(default=0.01, ge=0.0, le=1.0)
    """Which part of the requests that succeed is logged; those that fail always are."""
    trusted_proxies: Annotated[list[str], NoDecode] = []
    """Networks of proxies whose ``X-Forwarded-For`` is believed, such as ``10.0.0.0/8``."""
    tls_certificate: Path | None = None
    """A PEM file with the chain of certificates; with it HTTP clients speak TLS."""
    tls_key: Path | None = None
    """The PEM file of its private key."""

    split_lists = field_validator("trusted_proxies", mode="before")(_split)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("GATEWAY_TLS_CERTIFICATE and GATEWAY_TLS_KEY belong together: set both or neither.")
        return self

    @property
    def secrets(self) -> SecretFiles:
        """The secret files of this host."""
        return SecretFiles(self.secrets_dir)


class ClientSettings(BaseSettings):
    """Settings of `tritonctl`."""

    model_config = SettingsConfigDict(extra="ignore")

    control_url: str | None = None
    admin_token: str | None = None
    tritonctl_profile: str | None = None
    xdg_config_home: Path | None = None
    controlplane_state_dir: Path = PROJECT_DIR / "var"
    """Where an embedded stack on this machine keeps its state."""

    @property
    def profiles_file(self) -> Path:
        """The file with the profiles of this person."""
        return (self.xdg_config_home or Path.home() / ".config") / "tritonctl" / "config.toml"

    @property
    def quickstart_env(self) -> Path:
        """What an embedded stack on this machine wrote down for its first user."""
        return self.controlplane_state_dir / "quickstart.env"


@cache
def control_settings() -> ControlSettings:
    """The control plane's settings, read once per process."""
    return ControlSettings()


@cache
def gateway_settings() -> GatewaySettings:
    """The gateway's settings, read once per process."""
    return GatewaySettings()
