"""A version's folder as a whole: what kind of model it holds, and what else."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from model_repository_tools.errors import UnsafePathError
from model_repository_tools.findings import Finding, carries_code, has_errors
from model_repository_tools.inspection.carried_code import find_code
from model_repository_tools.inspection.onnx import DEFAULT_MAX_SIZE_BYTES, inspect_onnx
from model_repository_tools.inspection.python import PythonModel, inspect_python
from model_repository_tools.inspection.result import OnnxInspection
from model_repository_tools.inspection.tensorrt import TensorRTPlan, inspect_plan
from model_repository_tools.paths import MAX_DEPTH, SafePaths
from model_repository_tools.sandbox import Network
from model_repository_tools.tensors import TensorSpec

CONFIG_FILE = "config.pbtxt"
MAX_FILES = 10_000
MAX_CONFIG_BYTES = 1 << 20

_ENSEMBLE = re.compile(rb"^\s*(ensemble_scheduling\b|platform\s*:\s*[\"']ensemble[\"'])", re.MULTILINE)


class ArtifactKind(StrEnum):
    """What a version is made of."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"
    PYTHON = "python"
    ENSEMBLE = "ensemble"
    UNKNOWN = "unknown"


_SUFFIXES = {
    ".onnx": ArtifactKind.ONNX,
    ".plan": ArtifactKind.TENSORRT,
    ".engine": ArtifactKind.TENSORRT,
    ".py": ArtifactKind.PYTHON,
}
_DEFAULT_NAMES = ("model.onnx", "model.plan", "model.py")  # what Triton looks for without being told


@dataclass(frozen=True, slots=True)
class VersionInspection:
    """What a version's folder holds; `findings` say what is wrong with it, those of the model's file included.

    Attributes:
        model_file: The file that Triton will load, relative to the folder; "" for an ensemble.
        files: All other names too, sorted, with their sizes.
        onnx, tensorrt, python: What the model's file is, by kind.
        network: What the child that looked could reach.
    """

    kind: ArtifactKind = ArtifactKind.UNKNOWN
    model_file: str = ""
    files: tuple[tuple[str, int], ...] = ()
    onnx: OnnxInspection | None = None
    tensorrt: TensorRTPlan | None = None
    python: PythonModel | None = None
    findings: tuple[Finding, ...] = ()
    network: Network = Network.SHARED

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a request must bring, where the file tells."""
        return self.onnx.inputs if self.onnx else ()

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What an answer holds, where the file tells."""
        return self.onnx.outputs if self.onnx else ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(size for _, size in self.files)

    @property
    def has_config(self) -> bool:
        """True if a config.pbtxt came with it."""
        return any(name == CONFIG_FILE for name, _ in self.files)

    @property
    def carries_code(self) -> bool:
        """True if publishing it means running somebody's code."""
        return carries_code(self.findings)

    def is_servable(self, *, allow_code: bool = False) -> bool:
        """Tell whether no finding forbids serving. `allow_code`: somebody answers for the code in it."""
        return not has_errors(self.findings, allow_code=allow_code)

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold; it is the child's report, so `network` is not in it."""
        return {
            "kind": self.kind.value,
            "model_file": self.model_file,
            "files": [{"path": name, "size": size} for name, size in self.files],
            "onnx": self.onnx and self.onnx.to_dict(),
            "tensorrt": self.tensorrt and self.tensorrt.to_dict(),
            "python": self.python and self.python.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], network: Network = Network.SHARED) -> "VersionInspection":
        """Undo `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: `value` did not come from `to_dict`.
        """
        return cls(
            kind=ArtifactKind(value["kind"]),
            model_file=str(value["model_file"]),
            files=tuple((str(file["path"]), int(file["size"])) for file in value["files"]),
            onnx=value["onnx"] and OnnxInspection.from_dict(value["onnx"]),
            tensorrt=value["tensorrt"] and TensorRTPlan.from_dict(value["tensorrt"]),
            python=value["python"] and PythonModel.from_dict(value["python"]),
            findings=tuple(Finding.from_dict(finding) for finding in value["findings"]),
            network=network,
        )


def examine_version(folder: Path, *, max_size_bytes: int = DEFAULT_MAX_SIZE_BYTES) -> VersionInspection:
    """Look into a version's folder, in this process; for folders from strangers use `inspect_version`.

    Raises:
        OSError: The folder cannot be read.
    """
    try:
        files = tuple(sorted(_list_files(folder)))
    except UnsafePathError as error:
        return VersionInspection(findings=(Finding(error.code, "", str(error), "use plain files and names"),))
    names = [name for name, _ in files]
    kind, model_file, problem = _detect(folder, [name for name in names if name != CONFIG_FILE], CONFIG_FILE in names)
    found = VersionInspection(kind, model_file, files, findings=(problem,) if problem else ())
    found = _examine_model(found, folder, max_size_bytes)
    code = find_code(folder, [name for name in names if name != CONFIG_FILE], model_file)
    return replace(found, findings=(*found.findings, *code))


def _examine_model(found: VersionInspection, folder: Path, max_size_bytes: int) -> VersionInspection:
    path = folder / found.model_file
    if found.kind is ArtifactKind.ONNX:
        onnx = inspect_onnx(path, max_size_bytes=max_size_bytes)
        return replace(found, onnx=onnx, findings=(*found.findings, *onnx.findings))
    if found.kind is ArtifactKind.TENSORRT:
        plan, findings = inspect_plan(path)
        return replace(found, tensorrt=plan, findings=(*found.findings, *findings))
    if found.kind is ArtifactKind.PYTHON:
        python, findings = inspect_python(path)
        carried = Finding(
            "code.python_backend",
            found.model_file,
            f"{found.model_file} is a program that runs inside the server",
            "let a second person approve the code in this version",
        )
        return replace(found, python=python, findings=(*found.findings, carried, *findings))
    return found


def _detect(folder: Path, names: list[str], has_config: bool) -> tuple[ArtifactKind, str, Finding | None]:
    """Return the kind, the model's file, and what is wrong with the choice."""
    top = [name for name in names if "/" not in name]
    by_name = [name for name in _DEFAULT_NAMES if name in top]
    candidates = by_name or [name for name in top if Path(name).suffix.lower() in _SUFFIXES]
    if len(candidates) == 1:
        return _SUFFIXES[Path(candidates[0]).suffix.lower()], candidates[0], None
    if candidates:
        message = f"it holds several models: {', '.join(map(ascii, candidates[:5]))}"
        return ArtifactKind.UNKNOWN, "", Finding("version.ambiguous", "", message, "keep one model in a version")
    if has_config and _ENSEMBLE.search(_read_head(folder / CONFIG_FILE)):
        return ArtifactKind.ENSEMBLE, "", None
    fix = "name the model model.onnx, model.plan or model.py, at the top of the version"
    return ArtifactKind.UNKNOWN, "", Finding("version.no_model", "", "it holds no model that this tool knows", fix)


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_CONFIG_BYTES)


def _list_files(top: Path) -> Iterator[tuple[str, int]]:
    """Yield (path, size) of every file; a link or special file is refused, not followed."""
    paths = SafePaths()
    for folder, folders, names in os.walk(top):
        prefix = Path(folder).relative_to(top)
        if len(prefix.parts) >= MAX_DEPTH:
            raise UnsafePathError(f"{str(prefix)!a:.100} is nested too deeply", code="path.too_deep")
        for name in [*folders, *names]:
            status = (top / prefix / name).lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            inner = str(paths.add(str(prefix / name)))
            if not stat.S_ISREG(status.st_mode):
                raise UnsafePathError(f"{inner!a:.100} is a link or a special file", code="path.not_a_file")
            yield inner, status.st_size
            _check_count(paths)


def _check_count(paths: SafePaths) -> None:
    if len(paths) > MAX_FILES:
        raise UnsafePathError(f"it holds more than {MAX_FILES} files", code="path.too_many")
