"""`tritonctl status`."""

from __future__ import annotations

from typing import Any

import typer

from controlplane.tritonctl.terminal import AsJson, connect, moment, print_json, print_line, print_table, reports_errors
from controlplane.wire.errors import UnavailableError


@reports_errors
def show_status(context: typer.Context, as_json: AsJson = False) -> None:
    """Whether the control plane works, who you are to it, and how its servers are."""
    with connect(context) as control:
        readiness = control.readiness()
        status = {
            "control_url": control.connection.url,
            "ready": readiness.get("ready", False),
            "dependencies": readiness.get("dependencies", {}),
            "user": control.get("me"),
            "models_count": control.count("models"),
            "servers": list(control.pages("servers")),
        }
    if as_json:
        print_json(status)
    else:
        _print(status)
    if not status["ready"]:
        down = ", ".join(sorted(name for name, state in status["dependencies"].items() if state != "ok"))
        raise UnavailableError(f"The control plane is not ready: {down or 'it does not say why'}.", code="not_ready")


def _print(status: dict[str, Any]) -> None:
    user = status["user"]
    print_line(f"Control plane  {status['control_url']} is {'ready' if status['ready'] else 'not ready'}")
    print_line(f"You are        {user['username']}, {user['role']}")
    print_line(f"Models         {status['models_count']}")
    print_line("")
    print_table(
        ["SERVER", "POOL", "STATE", "HEALTH", "TRITON", "LAST SEEN", "REASON"],
        (
            [
                server["name"],
                server["pool"],
                server["state"],
                server["health"],
                server["triton_version"],
                moment(server["seen_at"]),
                server["health_reason"],
            ]
            for server in status["servers"]
        ),
        empty="No servers are registered.",
    )
