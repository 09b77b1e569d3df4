"""Gives every test run an environment of its own, before Django reads its settings.

Loaded as a plugin (``-p``), ahead of everything else.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from controlplane.secret_files import init_secrets

STATE_DIR = Path(tempfile.mkdtemp(prefix="controlplane-tests-"))
atexit.register(shutil.rmtree, STATE_DIR, ignore_errors=True)

for _name in [name for name in os.environ if name.startswith(("CONTROLPLANE_", "GATEWAY_"))]:
    del os.environ[_name]
os.environ["CONTROLPLANE_STATE_DIR"] = str(STATE_DIR)
# Nothing listens there: a test that needs Redis asks for the fixture, and none meets one that happens to run.
os.environ["CONTROLPLANE_REDIS_URL"] = f"unix://{STATE_DIR}/no-redis.sock"
if _postgres := os.environ.get("TEST_DATABASE_URL"):
    os.environ["CONTROLPLANE_DATABASE_URL"] = _postgres
init_secrets(STATE_DIR / "secrets")
