"""`tritonctl publish`, `tritonctl version retire`, `tritonctl version restore`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

from controlplane.tritonctl.client import ControlClient
from controlplane.tritonctl.terminal import AsJson, connect, plain, print_json, print_line, reports_errors
from controlplane.wire.errors import ConflictError, ControlPlaneError, ErrorKind, UnavailableError

POLL_S = 0.25
OPEN_STATES = {"queued", "running"}

Publication = dict[str, Any]


Target = Annotated[str, typer.Argument(metavar="MODEL@SEMVER", help="The version, such as digits@1.0.0.")]
PoolName = Annotated[str | None, typer.Option("--pool", help="The pool it is about; else the default one.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is done, or say why it is not.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Seconds that --wait waits.")]


@dataclass(frozen=True)
class Verb:
    """What is done with a version: its path in the API, and its participle."""

    path: str
    done: str


PUBLISH, RETIRE, RESTORE = Verb("publish", "published"), Verb("retire", "retired"), Verb("restore", "restored")
_DONE = {verb.path: verb.done for verb in (PUBLISH, RETIRE, RESTORE)}
_WHERE = {"publish": "into", "retire": "from", "restore": "into"}


@reports_errors
def publish(
    context: typer.Context,
    target: Target,
    pool: PoolName = None,
    wait: Wait = False,
    timeout_s: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Publish a version: load it on every server of a pool, prove it there, and open it to requests."""
    ask(context, PUBLISH, target, pool, wait_s=timeout_s if wait else None, as_json=as_json)


@reports_errors
def retire(
    context: typer.Context,
    target: Target,
    pool: PoolName = None,
    wait: Wait = False,
    timeout_s: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Take a version out of a pool without a request noticing; it can be restored for some days."""
    ask(context, RETIRE, target, pool, wait_s=timeout_s if wait else None, as_json=as_json)


@reports_errors
def restore(
    context: typer.Context,
    target: Target,
    pool: PoolName = None,
    wait: Wait = False,
    timeout_s: Timeout = 600,
    as_json: AsJson = False,
) -> None:
    """Bring a retired version back, proven as when it was published."""
    ask(context, RESTORE, target, pool, wait_s=timeout_s if wait else None, as_json=as_json)


def ask(
    context: typer.Context, verb: Verb, target: str, pool: str | None, *, wait_s: float | None, as_json: bool
) -> None:
    """Asks for something to be done with a version and, if wanted, follows it to its end."""
    model, version = split_target(target)
    with connect(context) as control:
        body = {"pool": pool} if pool else {}
        publication = control.post("models", model, "versions", version, verb.path, body=body)
        if wait_s is not None:
            with _StepPrinter(quiet=as_json) as printer:
                publication = _wait(control, publication, wait_s, printer.show)
    _require_success(publication)
    if as_json:
        print_json(publication)
    elif wait_s is not None:
        print_line(f"{target} is {verb.done} {_WHERE[verb.path]} pool {publication['pool']}.", "green")
    else:
        print_line(f"Publication {publication['id']} of {target} is {publication['state']}; --wait shows how it goes.")


def split_target(target: str) -> tuple[str, str]:
    """Model and version of ``MODEL@SEMVER``."""
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
        f"{publication['model']}@{publication['version']} was not {_DONE[publication['kind']]}: {reason}",
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
