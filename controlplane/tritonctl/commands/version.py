"""`tritonctl version`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controlplane.tritonctl.terminal import AsJson, connect, moment, print_json, print_table, reports_errors

app = typer.Typer(help="What was uploaded of a model.", no_args_is_help=True)


@app.command("list")
@reports_errors
def list_versions(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's name.")],
    as_json: AsJson = False,
) -> None:
    """List the versions of a model, newest first."""
    with connect(context) as control:
        versions = list(control.pages("models", model, "versions"))
    if as_json:
        print_json(versions)
        return
    print_table(
        ["VERSION", "NUMBER", "STATE", "ALIASES", "METRICS", "CREATED"],
        (
            [
                version["version"],
                version["number"],
                version["state"],
                ", ".join(version["aliases"]),
                _metrics(version["metrics"]),
                moment(version["created_at"]),
            ]
            for version in versions
        ),
        empty=f"{model} has no versions.",
    )


def _metrics(metrics: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in metrics.items()
    )
