"""Inspection of files from strangers, in a child process with limits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from model_repository_tools.findings import Finding
from model_repository_tools.inspection.onnx import inspect_onnx
from model_repository_tools.inspection.result import OnnxInspection
from model_repository_tools.inspection.version import VersionInspection, examine_version
from model_repository_tools.sandbox import Limits, Network, run_limited

_TASKS = "model_repository_tools.inspection.sandbox"
_Report = TypeVar("_Report")


def inspect_untrusted(path: Path, limits: Limits | None = None) -> OnnxInspection:
    """Inspect an ONNX file that may be hostile; the caller is safe from what reading it does.

    Whatever happens comes back as findings; nothing is raised for a bad file, and no stack trace comes back.

    Args:
        path: The .onnx file; external files are looked for beside it.
        limits: Default: enough for any real model.
    """
    limits = limits or Limits()
    size_bytes = path.stat().st_size if path.is_file() else 0
    return _ask(
        "answer_onnx",
        path,
        limits,
        size_bytes,
        lambda answer, _: OnnxInspection.from_dict(answer),
        lambda finding: OnnxInspection(size_bytes, findings=(finding,)),
    )


def inspect_version(folder: Path, limits: Limits | None = None) -> VersionInspection:
    """Say what a version's folder holds, of whatever kind, and what keeps it from being served.

    Works like `inspect_untrusted`. Nothing in the folder is executed, unpickled or loaded.

    Args:
        folder: Holds the model's file (`model.onnx`, `model.plan`, `model.py`) and what belongs to it; may hold a
            config.pbtxt. `unpacking` puts it there.
        limits: Default: enough for any real model.
    """
    return _ask(
        "answer_version",
        folder,
        limits or Limits(),
        _largest_file_bytes(folder),
        VersionInspection.from_dict,
        lambda finding: VersionInspection(findings=(finding,)),
    )


def answer_onnx(path: str, file_bytes: int) -> dict[str, Any]:
    """Run in the child."""
    return inspect_onnx(Path(path), max_size_bytes=file_bytes).to_dict()


def answer_version(path: str, file_bytes: int) -> dict[str, Any]:
    """Run in the child."""
    return examine_version(Path(path), max_size_bytes=file_bytes).to_dict()


def _ask(
    task: str,
    path: Path,
    limits: Limits,
    file_bytes: int,
    read: Callable[[Mapping[str, Any], Network], _Report],
    failed: Callable[[Finding], _Report],
) -> _Report:
    request = {"path": str(path.absolute()), "file_bytes": limits.file_bytes}
    outcome = run_limited(f"{_TASKS}:{task}", request, limits, mapped_bytes=min(file_bytes, limits.file_bytes))
    kind, reason = outcome.failure, outcome.reason
    if not kind:
        try:
            return read(outcome.answer, outcome.network)
        except (ValueError, KeyError, TypeError):
            kind, reason = "crashed", "makes its reader crash"
    fix = "check that the file is a model, and export it again"
    return failed(Finding(f"inspection.{kind}", path.name, f"{path.name} {reason}", fix))


def _largest_file_bytes(folder: Path) -> int:
    try:
        return max((item.stat().st_size for item in folder.iterdir() if item.is_file()), default=0)
    except OSError:
        return 0
