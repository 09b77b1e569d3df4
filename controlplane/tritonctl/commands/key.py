"""`tritonctl key`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from controlplane.tritonctl.terminal import AsJson, connect, moment, print_json, print_line, reports_errors

app = typer.Typer(help="What clients of the gateway identify themselves with.", no_args_is_help=True)

_SPAN = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@app.command("create")
@reports_errors
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What people know the key by.")],
    project: Annotated[str | None, typer.Option(help="The project whose use it counts as.")] = None,
    org: Annotated[str | None, typer.Option(help="The project's organisation.")] = None,
    plan: Annotated[str | None, typer.Option(help="The plan whose limits apply.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: in 30d, 12h, 2w, or at 2030-01-31, 2030-01-31T12:00 (UTC).")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(help="Models it may use, with * for any run; repeat, or separate by commas.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Issue an API key. Its secret is shown now and never again."""
    given: dict[str, Any] = {
        "label": name,
        "project": project,
        "organisation": org,
        "plan": plan,
        "expires_at": _read_expiry(expires) if expires else None,
        "models": [pattern.strip() for part in models for pattern in part.split(",")] if models else None,
    }
    with connect(context) as control:
        key = control.post("keys", body={field: value for field, value in given.items() if value is not None})
    if as_json:
        print_json(key)
        return
    print_line(f"Key     {key['id']} ({key['label']}) of {key['organisation']}/{key['project']}, plan {key['plan']}")
    print_line(f"Models  {', '.join(key['models'])}")
    print_line(f"Expires {moment(key['expires_at']) or 'never'}")
    print_line(f"Secret  {key['secret']}")
    print_line("Keep the secret now: it is not stored and cannot be shown again.", "yellow")


def _read_expiry(text: str) -> str:
    """A span from now or a moment, as the API wants it."""
    if span := _SPAN.fullmatch(text):
        delta = timedelta(**{_UNITS[span["unit"]]: int(span["number"])})
        try:
            return (datetime.now(UTC) + delta).isoformat()
        except OverflowError:
            raise typer.BadParameter(f"{text!r} is too far away.", param_hint="--expires") from None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a span like 30d nor a date like 2030-01-31.", param_hint="--expires"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
