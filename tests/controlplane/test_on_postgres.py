"""Services, migrations and locks once more, on Postgres: the database of production.

The same tests as on SQLite, in a process of their own because Django reads its database once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SUITES = ("audit", "accounts", "registry", "access", "fleet", "usage", "snapshots", "quickstart")
# Their processes have databases of their own.
LEFT_OUT = ("registry/rest/test_streaming.py", "registry/import_jobs/test_crashes.py", "fleet/test_crashes.py")
RERUN_TIMEOUT_S = 240


@pytest.mark.timeout(RERUN_TIMEOUT_S + 60)
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="this run is the one on Postgres")
def test_everything_that_writes_works_on_postgres_too(postgres_url: str) -> None:
    left_out = [*(HERE / test for test in LEFT_OUT), *(HERE / suite / "rest" for suite in SUITES)]
    suites = [*(f"--ignore={path}" for path in left_out), *(str(HERE / suite) for suite in SUITES)]
    rerun = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not gpu and not browser", *suites],
        cwd=ROOT,
        env={**os.environ, "TEST_DATABASE_URL": postgres_url},
        capture_output=True,
        text=True,
        timeout=RERUN_TIMEOUT_S,
        check=False,
    )
    assert rerun.returncode == 0, f"{rerun.stdout[-8000:]}\n{rerun.stderr[-2000:]}"
