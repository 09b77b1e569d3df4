"""Health checks for the processes that have no port: ``python -m deploy.docker.alive controller|beat``.

Exit status 0 says healthy; anything else is printed and says not.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

BEAT_SCHEDULE = Path("/tmp/celerybeat-schedule")  # noqa: S108 - a tmpfs of beat's own container
BEAT_PATIENCE_S = 600.0
"""Beat writes its schedule every 3 minutes if it wakes at least that often (``--max-interval``)."""


def controller() -> str:
    """What is wrong with the controllers: empty when one of them holds the lease."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    from django.utils import timezone

    from controlplane.snapshots.models import LeaderLease

    led = LeaderLease.objects.exclude(holder="").filter(expires_at__gt=timezone.now()).exists()
    return "" if led else "no controller holds the lease"


def beat(schedule: Path = BEAT_SCHEDULE) -> str:
    """What is wrong with beat: empty when it wrote its schedule lately."""
    # Depending on the dbm library it is one file of that name, or several with endings.
    times = [path.stat().st_mtime for path in schedule.parent.glob(f"{schedule.name}*")]
    if not times:
        return f"{schedule} was never written"
    age_s = time.time() - max(times)
    return f"{schedule} was last written {age_s:.0f} s ago" if age_s > BEAT_PATIENCE_S else ""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="deploy.docker.alive", description=(__doc__ or "").splitlines()[0])
    result.add_argument("process", choices=["controller", "beat"])
    return result


def main(arguments: list[str] | None = None) -> int:
    """Checks one process; the exit status."""
    trouble = {"controller": controller, "beat": beat}[parser().parse_args(arguments).process]()
    if trouble:
        sys.stderr.write(f"{trouble}\n")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
