"""``manage.py seed_demo``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from controlplane.quickstart.demo import seed_demo
from controlplane.wire.errors import ControlPlaneError


class Command(BaseCommand):
    help = "Trains, registers and publishes the demo model. Needs the running stack. May be run again."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            seed_demo(self._say)
        except ControlPlaneError as error:
            raise CommandError(error.message) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
