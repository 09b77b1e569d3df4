"""What commands print. Names and texts come from strangers, so none of it is taken for markup or control codes."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controlplane.env import ClientSettings
from controlplane.tritonctl.client import ControlClient
from controlplane.tritonctl.connection import find_connection
from controlplane.wire.errors import ControlPlaneError

P = ParamSpec("P")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, errors as JSON on stderr.")]


def connect(context: typer.Context) -> ControlClient:
    """A client for the control plane that the command line, the environment or a file names."""
    return ControlClient(find_connection(ClientSettings(), context.find_root().obj))


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Makes a command that fails on purpose say why on stderr, as text or JSON, and exit with 1."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            command(*arguments, **options)
        except ControlPlaneError as error:
            if options.get("as_json"):
                sys.stderr.write(json.dumps(error.as_dict()) + "\n")
            else:
                print_error(error)
            raise typer.Exit(1) from None

    return run


def print_json(value: Any) -> None:
    """Prints a value for programs, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_line(text: str, style: str = "") -> None:
    """Prints a line for people."""
    Console(soft_wrap=True, highlight=False).print(plain(text, style))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, empty: str) -> None:
    """Prints rows for people, or a sentence where there are none."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(plain("" if cell is None else str(cell)) for cell in row))
    if table.row_count:
        Console(highlight=False).print(table)
    else:
        print_line(empty)


def print_error(error: ControlPlaneError) -> None:
    """Says on stderr what went wrong, field by field or finding by finding where that is known."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(plain("Error: ", "bold red") + plain(f"{error.message} ({error.code})"))
    for name, value in error.details.items():
        for line in value if isinstance(value, list) else [value]:
            text = f"{line.get('path')}: {line.get('message')}" if isinstance(line, dict) else str(line)
            console.print(plain(f"  {name}: {text}"))


def plain(text: str, style: str = "") -> Text:
    """Text as it is, with control characters (which could rewrite the screen) shown as escapes."""
    return Text("".join(char if char.isprintable() else ascii(char)[1:-1] for char in text), style=style)


def moment(value: str | None) -> str:
    """A time of the API for people, in their own time zone."""
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else ""
