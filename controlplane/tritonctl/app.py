"""`tritonctl`: the control plane from a terminal or a script.

A program of its own: it knows the REST API, and nothing of the control plane's inside.
"""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.tritonctl.commands import alias, key, model, publication, status, version

app = typer.Typer(
    name="tritonctl",
    help="Models, versions, publications and keys of a Triton control plane: the one that CONTROL_URL and ADMIN_TOKEN "
    "name, else a profile, else the one that `make up` started here.",
    no_args_is_help=True,
    add_completion=False,
    # Typer's own traceback shows the values of variables, tokens among them.
    pretty_exceptions_enable=False,
)
app.command("status")(status.show_status)
app.command("publish")(publication.publish)
app.add_typer(model.app, name="model")
app.add_typer(version.app, name="version")
app.add_typer(alias.app, name="alias")
app.add_typer(key.app, name="key")


@app.callback()
def choose_profile(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option(help="A profile of ~/.config/tritonctl/config.toml; else TRITONCTL_PROFILE.")
    ] = None,
) -> None:
    """Remembers the profile for the command that follows."""
    context.obj = profile


def main() -> None:
    """The console script. Exit status: 0 done, 1 not done and why on stderr, 2 the call was wrong."""
    app()
