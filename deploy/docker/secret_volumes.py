"""Secrets for containers: each container gets a volume with those it needs, and no other.

``python -m deploy.docker.secret_volumes make`` generates what is missing, before anything else runs;
``... hand-out`` gives the gateway its share once `manage.py bootstrap` has issued its token. Both may be run again.

Triton and Postgres run as users of their own: their files can be read by the control plane's group, which the compose
file lends them.
"""

from __future__ import annotations

import argparse
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from controlplane.secret_files import init_secrets

GATEWAY_SECRETS = ("gateway_token", "pepper", "snapshot_public.pem")
TRITON_SECRETS = ("triton_control",)
PASSWORD_FILE = "postgres_password"  # noqa: S105 - a file's name
PGPASS = "pgpass"
"""libpq's password file: database URLs name it, so that no variable holds the password."""

_OWNER_ONLY = 0o600
_GROUP_READS = 0o440


@dataclass(frozen=True)
class SecretVolumes:
    """Where the volumes are mounted in the containers that fill them."""

    control: Path = Path("/run/secrets")
    gateway: Path = Path("/handover/gateway")
    triton: Path = Path("/handover/triton")
    postgres: Path = Path("/handover/postgres")


def make(volumes: SecretVolumes) -> None:
    """Generates the secrets that are missing and hands Triton and Postgres theirs. Existing ones are never changed."""
    init_secrets(volumes.control)
    pgpass = volumes.control / PGPASS
    if not pgpass.exists():
        _write(pgpass, f"*:*:*:*:{secrets.token_urlsafe(32)}\n".encode(), _OWNER_ONLY)
    # Taken from the one copy that counts: a crash between the two files leaves no second password.
    password = pgpass.read_bytes().strip().rpartition(b":")[2]
    _write(volumes.postgres / PASSWORD_FILE, password, _GROUP_READS)
    for name in TRITON_SECRETS:
        _write(volumes.triton / name, (volumes.control / name).read_bytes(), _GROUP_READS)


def hand_out(volumes: SecretVolumes) -> None:
    """Gives the gateway what it needs.

    Raises:
        FileNotFoundError: a secret is missing: `make` or `manage.py bootstrap` did not run.
    """
    for name in GATEWAY_SECRETS:
        _write(volumes.gateway / name, (volumes.control / name).read_bytes(), _OWNER_ONLY)


def _write(path: Path, content: bytes, mode: int) -> None:
    """All of the file or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="deploy.docker.secret_volumes", description=(__doc__ or "").splitlines()[0])
    result.add_argument("action", choices=["make", "hand-out"])
    return result


def main(arguments: list[str] | None = None, volumes: SecretVolumes | None = None) -> None:
    """Runs one action."""
    run = {"make": make, "hand-out": hand_out}[parser().parse_args(arguments).action]
    run(volumes or SecretVolumes())


if __name__ == "__main__":
    main()
