"""TensorRT plans. Their header tells the version that built them; nothing but TensorRT itself can check the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_repository_tools.findings import Finding, Severity

_MAGIC = b"ftrt"
_KNOWN_SERIALIZATION = bytes(4)
_HEADER_BYTES = 28
_VERSION_AT = 24


@dataclass(frozen=True, slots=True)
class TensorRTPlan:
    """What is known of a plan. All of it is a claim, of the file or of its author, until a server has loaded it.

    Attributes:
        header_version: TensorRT that built it, `10.3.0.26`, from the file's header; "" if the header does not tell.
        declared_version: The same as its author says; "" if nobody said.
        compute_capability: Of the GPU that it was built on, `8.6`, as its author says: the file does not tell.
        is_version_compatible: Its author says that it was built with --versionCompatible.
    """

    header_version: str = ""
    declared_version: str = ""
    compute_capability: str = ""
    is_version_compatible: bool = False

    @property
    def version(self) -> str:
        """The version to go by: the header's, else the author's."""
        return self.header_version or self.declared_version

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return {
            "header_version": self.header_version,
            "declared_version": self.declared_version,
            "compute_capability": self.compute_capability,
            "is_version_compatible": self.is_version_compatible,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TensorRTPlan":
        """Undo `to_dict`.

        Raises:
            KeyError, TypeError: `value` did not come from `to_dict`.
        """
        return cls(
            header_version=str(value["header_version"]),
            declared_version=str(value["declared_version"]),
            compute_capability=str(value["compute_capability"]),
            is_version_compatible=bool(value["is_version_compatible"]),
        )


def inspect_plan(path: Path) -> tuple[TensorRTPlan | None, list[Finding]]:
    """Read the header of a plan.

    Source: `printPlanVersion` in samples/common/sampleEngines.cpp of TensorRT.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        message = f"{path.name} is not a TensorRT plan: it does not begin with its mark"
        fix = "export the plan itself: some tools put a header of their own before it"
        return None, [Finding("tensorrt.not_a_plan", path.name, message, fix)]
    unverified = Finding(
        "tensorrt.unverified",
        path.name,
        "a plan's version and GPU cannot be checked without that TensorRT and GPU; they are what the file claims",
        "try it on a server like those that will serve it",
        Severity.WARNING,
    )
    if header[4:8] != _KNOWN_SERIALIZATION:
        message = f"{path.name} is of a format that does not tell its TensorRT version here"
        unknown = Finding("tensorrt.unknown_version", path.name, message, "declare the version", Severity.WARNING)
        return TensorRTPlan(), [unverified, unknown]
    return TensorRTPlan(".".join(map(str, header[_VERSION_AT:_HEADER_BYTES]))), [unverified]


def check_declaration(plan: TensorRTPlan, path: str) -> list[Finding]:
    """Compare what the author declares with the header, and ask for what is missing."""
    findings = []
    if plan.header_version and plan.declared_version and not _same(plan.header_version, plan.declared_version):
        message = f"it was built by TensorRT {plan.header_version}, its author declares {plan.declared_version}"
        findings.append(Finding("tensorrt.version_differs", path, message, "declare the version in the file's header"))
    if not plan.version:
        message = "nobody says which TensorRT built this plan"
        findings.append(Finding("tensorrt.version_missing", path, message, "declare the TensorRT version"))
    if not plan.compute_capability:
        message = "nobody says which compute capability this plan was built for"
        findings.append(Finding("tensorrt.capability_missing", path, message, "declare it, for instance 8.6"))
    return findings


def _same(full: str, declared: str) -> bool:
    """Tell whether `declared`, possibly shorter, is `full`."""
    return (full + ".").startswith(declared + ".")
