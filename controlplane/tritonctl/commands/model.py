"""`tritonctl model`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from controlplane.tritonctl.client import ControlClient
from controlplane.tritonctl.terminal import AsJson, connect, print_json, print_line, print_table, reports_errors
from controlplane.wire.errors import InvalidError

app = typer.Typer(help="What clients can ask for.", no_args_is_help=True)

GRAPH = "model.onnx"
"""What the graph of a version is called; in a folder, its file has this name already."""
JsonFile = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, readable=True)]


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


@app.command("import")
@reports_errors
def import_model(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(exists=True, help="An ONNX file, or a folder with model.onnx in it.")],
    model: Annotated[str, typer.Option("--model", metavar="SLUG", help="The model it is a version of.")],
    version: Annotated[str, typer.Option("--version", metavar="SEMVER", help="The version it becomes.")],
    golden: JsonFile = None,
    metrics: JsonFile = None,
    notes: Annotated[str, typer.Option(help="What to know about the data it was trained on.")] = "",
    source: Annotated[str, typer.Option(help="Where it comes from: a commit, a run, a place.")] = "",
    as_json: AsJson = False,
) -> None:
    """Upload a version of a registered model. It is inspected; what stands against serving it is said at once."""
    form = {"semver": version, "dataset_notes": notes, "source": source or path.name}
    for field, file in (("golden", golden), ("metrics", metrics)):
        if file is not None:
            form[field] = file.read_text()
    with connect(context) as control:
        uploaded = _upload(control, model, form, dict(_files_of(path)))
    if as_json:
        print_json(uploaded)
        return
    for finding in uploaded["findings"]:
        print_line(f"{finding['severity']}: {finding['path']}: {finding['message']}", "yellow")
    print_line(f"{model}@{version} is {uploaded['state']}, number {uploaded['number']}.", "green")


def _files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """The files of a version: name inside its folder -> file."""
    if path.is_file():
        yield GRAPH, path
        return
    if not (path / GRAPH).is_file():
        raise InvalidError(f"There is no {GRAPH} in {path.name}.", code="artifact.no_model")
    for file in sorted(path.iterdir()):
        if file.is_dir():
            raise InvalidError(f"{file.name} is a folder; a version's files lie beside {GRAPH}.", code="path.folder")
        yield file.name, file


def _upload(control: ControlClient, model: str, form: dict[str, str], paths: dict[str, Path]) -> dict[str, Any]:
    with ExitStack() as stack:
        opened: dict[str, BinaryIO] = {name: stack.enter_context(path.open("rb")) for name, path in paths.items()}
        files = [("file" if name == GRAPH else "extra_files", (name, file)) for name, file in opened.items()]
        answer: dict[str, Any] = control.upload("models", model, "versions", form=form, files=files)
        return answer
