"""`tritonctl alias`."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.tritonctl.terminal import (
    AsJson,
    connect,
    moment,
    print_json,
    print_line,
    print_table,
    reports_errors,
)

app = typer.Typer(help="The named pointers that clients follow.", no_args_is_help=True)

ModelName = Annotated[str, typer.Argument(help="The model's name.")]


@app.command("list")
@reports_errors
def list_aliases(context: typer.Context, model: ModelName, as_json: AsJson = False) -> None:
    """List the aliases of a model."""
    with connect(context) as control:
        aliases = list(control.pages("models", model, "aliases"))
    if as_json:
        print_json(aliases)
        return
    print_table(
        ["ALIAS", "VERSION", "NUMBER", "DEFAULT", "MOVED"],
        (
            [
                alias["alias"],
                alias["version"],
                alias["number"],
                "yes" if alias["default"] else "",
                moment(alias["updated_at"]),
            ]
            for alias in aliases
        ),
        empty=f"{model} has no aliases.",
    )


@app.command("set")
@reports_errors
def set_alias(
    context: typer.Context,
    model: ModelName,
    alias: Annotated[str, typer.Argument(help="The alias, such as production.")],
    semver: Annotated[str, typer.Argument(help="The published version it shall point at.")],
    as_json: AsJson = False,
) -> None:
    """Point an alias at a published version; clients follow within a second."""
    with connect(context) as control:
        moved = control.put("models", model, "aliases", alias, body={"version": semver})
    if as_json:
        print_json(moved)
        return
    before = moved["history"][0]["from_version"]
    print_line(f"{model}@{alias} is {moved['version']} now" + (f"; it was {before}." if before else "."))
