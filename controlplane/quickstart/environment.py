"""``quickstart.env``: what a person and a script need to use a fresh stack, in one file of mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

NAMES = (
    "GATEWAY_URL",
    "GATEWAY_GRPC",
    "CONTROL_URL",
    "TRITON_URL",
    "ADMIN_USER",
    "ADMIN_PASSWORD",
    "API_KEY",
    "ADMIN_TOKEN",
)


def read_environment(path: Path) -> dict[str, str]:
    """The variables of the file; empty where there is none yet."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs if name in NAMES}


def write_environment(path: Path, values: dict[str, str]) -> None:
    """Replaces the file as a whole; it never exists with other rights or half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# Written by `make up`. Secrets: keep it to yourself.", *(f"{name}={values[name]}" for name in NAMES)]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
