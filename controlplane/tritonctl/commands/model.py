"""`tritonctl model`."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.tritonctl.commands.model_import import import_model
from controlplane.tritonctl.terminal import AsJson, connect, print_json, print_table, reports_errors

app = typer.Typer(help="What clients can ask for.", no_args_is_help=True)
app.command("import")(import_model)


@app.command("list")
@reports_errors
def list_models(
    context: typer.Context,
    search: Annotated[str, typer.Option(help="Text in the name, title or description.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the models."""
    with connect(context) as control:
        models = list(control.pages("models", **({"search": search} if search else {})))
    if as_json:
        print_json(models)
        return
    print_table(
        ["MODEL", "TITLE", "TASK", "VERSIONS", "ALIASES"],
        (
            [
                model["slug"],
                model["title"],
                model["task"],
                model["versions_count"],
                ", ".join(f"{alias} -> {version}" for alias, version in model["aliases"].items()),
            ]
            for model in models
        ),
        empty="There are no models.",
    )
