"""`tritonctl publish`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console

from controlplane.tritonctl.client import ControlClient
from controlplane.tritonctl.terminal import AsJson, connect, plain, print_json, print_line, reports_errors
from controlplane.wire.errors import ConflictError, ControlPlaneError, ErrorKind, UnavailableError

POLL_S = 0.25
OPEN_STATES = {"queued", "running"}

Publication = dict[str, Any]


@reports_errors
def publish(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="MODEL@SEMVER", help="The version, such as digits@1.0.0.")],
    pool: Annotated[str | None, typer.Option(help="The pool to publish into; else the default one.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is published, or say why it is not.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds that --wait waits.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Publish a version: load it on every server of a pool, prove it there, and open it to requests."""
    model, version = _split(target)
    with connect(context) as control:
        body = {"pool": pool} if pool else {}
        publication = control.post("models", model, "versions", version, "publish", body=body)
        if wait:
            with _StepPrinter(quiet=as_json) as printer:
                publication = _wait(control, publication, timeout_s, printer.show)
    _require_success(publication)
    if as_json:
        print_json(publication)
    elif wait:
        print_line(f"{target} is published into pool {publication['pool']}.", "green")
    else:
        print_line(f"Publication {publication['id']} of {target} is {publication['state']}; --wait shows how it goes.")


def _split(target: str) -> tuple[str, str]:
    model, _, version = target.partition("@")
    if not model or not version or "@" in version:
        raise typer.BadParameter(f"{target!r} is not of the form MODEL@SEMVER, such as digits@1.0.0.")
    return model, version


def _wait(
    control: ControlClient, publication: Publication, timeout_s: float, show: Callable[[Publication], None]
) -> Publication:
    """Follows a publication to its end. A control plane that restarts meanwhile is waited for."""
    deadline = time.monotonic() + timeout_s
    lost: ControlPlaneError | None = None
    while True:
        show(publication)
        if publication["state"] not in OPEN_STATES:
            return publication
        if time.monotonic() >= deadline:
            raise lost or _too_slow(publication, timeout_s)
        time.sleep(POLL_S)
        try:
            publication, lost = control.get("publications", publication["id"]), None
        except UnavailableError as error:
            lost = error


def _too_slow(publication: Publication, timeout_s: float) -> ControlPlaneError:
    hint = " Is a worker running?" if publication["state"] == "queued" else ""
    return ControlPlaneError(
        f"Publication {publication['id']} is still {publication['state']} after {timeout_s:g} s and goes on.{hint}",
        code="publication.timeout",
        kind=ErrorKind.TIMEOUT,
        details={"publication_id": publication["id"]},
    )


def _require_success(publication: Publication) -> None:
    state = publication["state"]
    if state in OPEN_STATES or state == "succeeded":
        return
    reason = publication["error"] or f"it was {state}"
    raise ConflictError(
        f"{publication['model']}@{publication['version']} was not published: {reason}",
        code=f"publication.{state}",
        details={"publication_id": publication["id"]},
    )


class _StepPrinter:
    """Prints each step when it ends; on a terminal also what is under way."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._status = self._console.status("waiting for a worker")
        self._printed: set[tuple[int, str]] = set()

    def __enter__(self) -> _StepPrinter:
        self._status.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._status.stop()

    def show(self, publication: Publication) -> None:
        """Takes in the publication as it is now."""
        for step in publication["steps"]:
            identity = (step["attempt"], step["step"])
            if step["attempt"] != publication["attempt"] or identity in self._printed:
                continue
            if step["state"] == "running":
                self._status.update(plain(step["title"]))
            else:
                self._printed.add(identity)
                self._print(step)

    def _print(self, step: dict[str, Any]) -> None:
        failed = step["state"] == "failed"
        mark = plain("failed" if failed else "done  ", "red" if failed else "green")
        seconds = f"{step['duration_s'] or 0:6.2f} s"
        self._console.print(mark, plain(f"{seconds}  {step['title']}: {step['error'] or step['detail']}"))
