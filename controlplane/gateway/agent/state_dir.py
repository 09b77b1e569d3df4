"""The state folder belongs to one agent at a time: two would ship the same journals."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.wire.errors import ConflictError


@contextmanager
def claim_state_dir(state_dir: Path) -> Iterator[None]:
    """Holds the folder, which is made where it is missing, until the end of the block or of the process.

    Raises:
        ConflictError: another agent holds it.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(state_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"Another gateway uses the state folder {state_dir}: stop it, or set GATEWAY_STATE_DIR.",
                code="gateway.already_running",
            ) from None
        yield
    finally:
        os.close(fd)
