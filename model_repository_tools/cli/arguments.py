"""Arguments that several commands take, and what they are together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from model_repository_tools.config import (
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    ServingOptions,
    apply_options,
    check_config,
    derive_config,
    read_options,
)
from model_repository_tools.findings import Finding, has_errors
from model_repository_tools.inspection import OnnxInspection, VersionInspection, inspect_untrusted
from model_repository_tools.inspection.version import CONFIG_FILE
from model_repository_tools.validation import validate_version

ModelPath = Annotated[Path, typer.Argument(exists=True, help="An .onnx file, or a version's folder.")]
VersionFolder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A version's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Name = Annotated[str, typer.Option(help="The model's slug; its folder becomes SLUG.vN.")]
Version = Annotated[int, typer.Option(min=1, help="The version's number; never use one again for other bytes.")]
MaxBatchSize = Annotated[int, typer.Option(min=0, help="Largest batch Triton may build; 0 turns batching off.")]
Kind = Annotated[InstanceKind, typer.Option(help="Where the model runs.", case_sensitive=False)]
AllowCode = Annotated[bool, typer.Option(help="You answer for the code in this version.")]
Options = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="A piece of config.pbtxt whose choices are laid over."),
]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that a command is about: what it is, how it would be served, and the files of its version."""

    inspection: OnnxInspection | VersionInspection
    config: ModelConfig | None
    findings: tuple[Finding, ...]
    files: Mapping[str, Path]

    def is_publishable(self, allow_code: bool) -> bool:
        """Tell whether nothing forbids publishing."""
        return self.config is not None and not has_errors(self.findings, allow_code=allow_code)


def prepare(
    path: Path, name: str, version: int, max_batch_size: int, kind: InstanceKind, options: Path | None
) -> Prepared:
    """Inspect a file or folder and make its configuration, with an operator's choices over it."""
    choices, findings = _choices(max_batch_size, kind, options)
    triton_name = f"{name}.v{version}"
    if not path.is_dir():
        return _prepare_file(path, triton_name, version, choices, findings)
    validation = validate_version(path, triton_name, version)
    config, problems = _lay_over(validation.config, choices)
    names = [file for file, _ in validation.inspection.files if file != CONFIG_FILE]
    return Prepared(
        validation.inspection,
        config,
        tuple(dict.fromkeys([*validation.findings, *findings, *problems])),
        {file: path / file for file in names},
    )


def _prepare_file(
    path: Path, triton_name: str, version: int, choices: Sequence[ServingOptions], findings: Sequence[Finding]
) -> Prepared:
    inspection = inspect_untrusted(path)
    derived = derive_config(inspection, triton_name, version) if inspection.is_servable else None
    config, problems = _lay_over(derived, choices)
    files = {"model.onnx": path} | {part: path.parent / part for part in inspection.external_files}
    return Prepared(inspection, config, (*inspection.findings, *findings, *problems), files)


def _choices(
    max_batch_size: int, kind: InstanceKind, options: Path | None
) -> tuple[list[ServingOptions], tuple[Finding, ...]]:
    groups = None if kind is InstanceKind.AUTO else (InstanceGroup(kind),)
    choices = [ServingOptions(max_batch_size=max_batch_size, instance_groups=groups)]
    if options is None:
        return choices, ()
    read, findings = read_options(options.read_text(encoding="utf-8"))
    return ([*choices, read] if read else choices), findings


def _lay_over(
    config: ModelConfig | None, choices: Sequence[ServingOptions]
) -> tuple[ModelConfig | None, list[Finding]]:
    if config is None:
        return None, []
    for choice in choices:
        config = apply_options(config, choice)
    return config, check_config(config)
