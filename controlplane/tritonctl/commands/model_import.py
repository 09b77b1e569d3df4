"""`tritonctl model import`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from controlplane.tritonctl.client import ControlClient
from controlplane.tritonctl.terminal import AsJson, connect, plain, print_json, print_line, reports_errors
from controlplane.tritonctl.uploading import ResumableUpload, upload_bar
from controlplane.wire.errors import ConflictError, ControlPlaneError, ErrorKind, InvalidError, UnavailableError

POLL_S = 0.25
OPEN_STATES = {"queued", "running"}
GRAPH = "model.onnx"

Import = dict[str, Any]


@reports_errors
def import_model(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The graph, or a folder with model.onnx and what lies beside it.")],
    model: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str, typer.Option(help="The new version, such as 1.0.0.")],
    golden: Annotated[Path | None, typer.Option(help="JSON file: a list of requests with known answers.")] = None,
    metrics: Annotated[Path | None, typer.Option(help='JSON file: measurements, such as {"accuracy": 0.97}.')] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is imported, or say why it is not.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds that --wait waits.")] = 3600,
    as_json: AsJson = False,
) -> None:
    """Import a version of a model. Run it again after an interruption: what has arrived is not sent twice."""
    files = dict(_files(path))
    body: dict[str, Any] = {"semver": version, "source": path.name}
    body |= {name: _read_json(file) for name, file in (("golden", golden), ("metrics", metrics)) if file}
    with connect(context) as control:
        _require_free(control, model, version)
        body["uploads"] = _send(control, files, quiet=as_json)
        job = control.post("models", model, "versions", body=body)
        if wait:
            job = _follow(control, job, timeout_s, quiet=as_json)
    _require_success(job)
    if as_json:
        print_json(job)
    elif wait:
        print_line(f"{model}@{version} is imported.", "green")
    else:
        print_line(f"Import {job['id']} of {model}@{version} is {job['state']}; --wait shows how it goes.")


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the version by its path inside the version."""
    if path.is_file():
        if path.suffix != ".onnx":
            raise InvalidError(f"{path} is no .onnx file: give the graph, or a folder that holds {GRAPH}.")
        yield GRAPH, path
        return
    if not (path / GRAPH).is_file():
        raise InvalidError(f"{path} is neither a graph nor a folder that holds {GRAPH}.")
    for file in sorted(path.rglob("*")):
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise InvalidError(f"{file} is a link or a special file; only files and folders are imported.")
        if file.is_file():
            yield file.relative_to(path).as_posix(), file


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidError(f"{file} cannot be read as JSON: {error}.") from error


def _require_free(control: ControlClient, model: str, version: str) -> None:
    """Refuses before hours of sending what would be refused after them."""
    control.get("models", model)
    for known in control.pages("models", model, "versions"):
        if known["version"] == version and known["state"] != "failed":
            raise ConflictError(f"{model} has a version {version} already, and versions never change.")


def _send(control: ControlClient, files: dict[str, Path], *, quiet: bool) -> dict[str, str]:
    total_bytes = sum(file.stat().st_size for file in files.values())
    with upload_bar(total_bytes, quiet=quiet) as bar:
        return {
            name: ResumableUpload(control, file, report=lambda count, name=name: bar(name, count)).run()  # type: ignore[misc]
            for name, file in files.items()
        }


def _follow(control: ControlClient, job: Import, timeout_s: float, *, quiet: bool) -> Import:
    """Follows an import to its end. A control plane that restarts meanwhile is waited for."""
    deadline = time.monotonic() + timeout_s
    lost: ControlPlaneError | None = None
    with Console(stderr=True, quiet=quiet).status("waiting for a worker") as status:
        while job["state"] in OPEN_STATES:
            status.update(plain(_progress(job)))
            if time.monotonic() >= deadline:
                raise lost or _too_slow(job, timeout_s)
            time.sleep(POLL_S)
            try:
                job, lost = control.get("imports", job["id"]), None
            except UnavailableError as error:
                lost = error
    return job


def _progress(job: Import) -> str:
    share = f" {100 * job['bytes_done'] // job['bytes_total']} %" if job["bytes_total"] else ""
    return f"{job['message']}{share}" if job["message"] else "waiting for a worker"


def _too_slow(job: Import, timeout_s: float) -> ControlPlaneError:
    hint = " Is a worker running?" if job["state"] == "queued" else ""
    return ControlPlaneError(
        f"Import {job['id']} is still {job['state']} after {timeout_s:g} s and goes on.{hint}",
        code="import.timeout",
        kind=ErrorKind.TIMEOUT,
        details={"import_id": job["id"]},
    )


def _require_success(job: Import) -> None:
    if job["state"] in OPEN_STATES or job["state"] == "succeeded":
        return
    reason = job["error"] or f"it was {job['state']}"
    details = {"import_id": job["id"]} | ({"findings": job["findings"]} if job["findings"] else {})
    raise ConflictError(
        f"{job['model']}@{job['version']} was not imported: {reason}",
        code=job["error_code"] or f"import.{job['state']}",
        details=details,
    )
