"""``manage.py run_controller``."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand

from controlplane.snapshots.controller import Controller


class Command(BaseCommand):
    help = "Runs the controller until SIGTERM. Any number may run; one of them leads."

    def handle(self, *args: Any, **options: Any) -> None:
        controller = Controller()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: controller.stop())
        controller.run()
