"""``manage.py bootstrap``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.quickstart.bootstrap import Addresses, bootstrap
from controlplane.wire.errors import ControlPlaneError


class Command(BaseCommand):
    help = "Makes the first user, key, token, pool and server of a fresh control plane. May be run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--quickstart-env", type=Path, required=True, help="where to write URLs and credentials")
        for field in fields(Addresses):
            parser.add_argument(f"--{field.name.replace('_', '-')}", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        addresses = Addresses(**{field.name: options[field.name] for field in fields(Addresses)})
        try:
            bootstrap(addresses, options["quickstart_env"])
        except ControlPlaneError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"credentials are in {options['quickstart_env']}")
