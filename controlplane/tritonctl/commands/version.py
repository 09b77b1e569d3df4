"""`tritonctl version`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controlplane.tritonctl.commands.publication import Target, restore, retire, split_target
from controlplane.tritonctl.terminal import (
    AsJson,
    connect,
    moment,
    print_json,
    print_line,
    print_table,
    reports_errors,
)

app = typer.Typer(help="What was uploaded of a model.", no_args_is_help=True)
app.command("retire")(retire)
app.command("restore")(restore)


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


@app.command("show")
@reports_errors
def show_version(context: typer.Context, target: Target, as_json: AsJson = False) -> None:
    """Show a version: what it is, who stands for it, and where it lies."""
    model, name = split_target(target)
    with connect(context) as control:
        version = control.get("models", model, "versions", name)
    if as_json:
        print_json(version)
    else:
        _print_version(version)


@app.command("approve")
@reports_errors
def approve_version(context: typer.Context, target: Target, as_json: AsJson = False) -> None:
    """Say that a version of somebody else may be published."""
    model, name = split_target(target)
    with connect(context) as control:
        version = control.post("models", model, "versions", name, "approve")
    if as_json:
        print_json(version)
        return
    missing = version["approvals_missing"]
    print_line(f"{target} is {version['state']}" + (f"; it needs {missing} more approval." if missing else "."))


@app.command("deprecate")
@reports_errors
def deprecate_version(
    context: typer.Context,
    target: Target,
    message: Annotated[str, typer.Option(help="What to use instead, and until when.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell people not to use a version any more. It goes on being served."""
    model, name = split_target(target)
    with connect(context) as control:
        body = {"deprecated": not undo, "message": message}
        version = control.post("models", model, "versions", name, "deprecate", body=body)
    if as_json:
        print_json(version)
    else:
        print_line(f"{target} is {'not deprecated any more' if undo else 'deprecated'}.")


def _print_version(version: dict[str, Any]) -> None:
    approvals = ", ".join(approval["approved_by"] for approval in version["approvals"]) or "nobody"
    missing = version["approvals_missing"]
    facts = {
        "Version": f"{version['model']}@{version['version']}, number {version['number']}, {version['state']}",
        "Aliases": ", ".join(version["aliases"]) or "none",
        "Made by": f"{version['created_by']}, {moment(version['created_at'])}",
        "Source": version["source"] or "not given",
        "Digest": version["digest"],
        "Signed": f"by key {version['signature']['key_id']}" if version["signature"] else "not yet",
        "Approved": f"by {approvals}" + (f"; {missing} more needed" if missing else ""),
        "Metrics": _metrics(version["metrics"]) or "none",
    }
    for name, value in facts.items():
        print_line(f"{name:<9} {value}")
    if version["deprecated"]:
        print_line(f"Deprecated. {version['deprecation_message']}", "yellow")
    for finding in version["findings"]:
        print_line(f"{finding['severity']:<9} {finding['path']}: {finding['message']}", "yellow")
    print_line("")
    print_table(
        ["SERVER", "POOL", "STATE", "ROUTED", "REASON"],
        (
            [place["server"], place["pool"], place["state"], "yes" if place["proven"] else "no", place["reason"]]
            for place in version["placements"]
        ),
        empty="It lies on no server.",
    )


def _metrics(metrics: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in metrics.items()
    )
