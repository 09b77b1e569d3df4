"""Generating the secrets of a new control plane.

``python -m controlplane.secret_files DIRECTORY``: it needs no Django, because Django's settings need its result.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from controlplane.wire.signing import generate_signing_key


def init_secrets(directory: Path) -> list[str]:
    """Writes each secret that is missing, mode 0600 in a directory of mode 0700; returns the names written.

    Existing secrets are never touched: a new pepper would end every API key.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for name in ("secret_key", "pepper", "triton_control"):
        if not (directory / name).exists():
            _write(directory / name, secrets.token_urlsafe(48).encode())
            written.append(name)
    for owner in ("snapshot", "publisher"):
        # The public key first: a crash between the two leaves no private key without its partner.
        if not (directory / f"{owner}_key.pem").exists():
            private, public = generate_signing_key()
            _write(directory / f"{owner}_public.pem", public)
            _write(directory / f"{owner}_key.pem", private)
            written += [f"{owner}_key.pem", f"{owner}_public.pem"]
    return written


def _write(path: Path, content: bytes) -> None:
    """All of the file or none of it: a crash leaves no half secret behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


if __name__ == "__main__":
    for secret in init_secrets(Path(sys.argv[1])):
        sys.stdout.write(f"generated {secret}\n")
