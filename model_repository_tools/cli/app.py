"""The commands together, and what happens when one fails."""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from model_repository_tools.cli import examine, publish, sign
from model_repository_tools.cli.output import print_json
from model_repository_tools.errors import ModelRepositoryError

app = typer.Typer(help="Inspect models, write their config.pbtxt and publish them to a Triton model repository.")
app.command()(examine.inspect)
app.command()(examine.config)
app.command()(examine.validate)
app.command()(examine.diff)
app.command()(sign.sign)
app.command()(sign.verify)
app.command()(publish.unpack)
app.command()(publish.publish)


def main() -> None:
    """Run the command line. What this library refuses is one line on stderr, never a stack trace."""
    try:
        app()
    except (ModelRepositoryError, ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        code = getattr(error, "code", "cli.refused")
        if "--json" in sys.argv:
            print_json({"error": {"code": code, "message": reason}})
        else:
            Console(stderr=True).print(f"[red]{escape(reason)}[/] ({code})")
        sys.exit(2)
