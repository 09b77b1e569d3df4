"""``manage.py snippets``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.quickstart.demo import SLUG
from controlplane.quickstart.environment import read_environment
from controlplane.quickstart.snippets import demo_sample, snippets

TITLES = {"curl": "A first prediction with curl", "python": "The same in Python (.venv/bin/python has tritonclient)"}


class Command(BaseCommand):
    help = "Prints ready-to-paste requests for the demo model."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--quickstart-env", type=Path, required=True)
        parser.add_argument("--only", choices=["curl", "python"])

    def handle(self, *args: Any, **options: Any) -> None:
        values, sample = read_environment(options["quickstart_env"]), demo_sample(SLUG)
        if not values or sample is None:
            raise CommandError("The demo is not there yet: run `manage.py bootstrap` and `manage.py seed_demo` first.")
        for name, text in snippets(values, SLUG, sample).items():
            if options["only"] == name:
                self.stdout.write(text)
            elif options["only"] is None:
                self.stdout.write(f"# {TITLES[name]}\n{text}\n")
