"""Findings: what is wrong with an artifact, and what to do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

CODE_PREFIX = "code."
_CODE = frozenset({"onnx.custom_operators"})  # older than the prefix, and kept: programs know it


class Severity(StrEnum):
    """How much a finding matters: an `ERROR` must not be published, the others may."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about an artifact that its author should know.

    Attributes:
        code: Stable and dotted, for programs: `onnx.zipmap_output`.
        path: Where, relative to what was examined: a file, a tensor, a field. Never an absolute path.
        message: What is wrong, in a sentence.
        fix: What to do about it; empty when there is nothing to do.
    """

    code: str
    path: str
    message: str
    fix: str = ""
    severity: Severity = Severity.ERROR

    @property
    def is_code(self) -> bool:
        """True if the artifact carries, or makes the server load, code: only a policy that allows code may waive it."""
        return self.code.startswith(CODE_PREFIX) or self.code in _CODE

    def to_dict(self) -> dict[str, str]:
        """Return a form that JSON can hold."""
        return {
            "code": self.code,
            "path": self.path,
            "message": self.message,
            "fix": self.fix,
            "severity": self.severity.value,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Finding":
        """Undo `to_dict`.

        Raises:
            KeyError, ValueError: `value` did not come from `to_dict`.
        """
        return cls(
            code=str(value["code"]),
            path=str(value["path"]),
            message=str(value["message"]),
            fix=str(value["fix"]),
            severity=Severity(value["severity"]),
        )


def has_errors(findings: Iterable[Finding], *, allow_code: bool = False) -> bool:
    """Tell whether any finding forbids publishing. `allow_code`: somebody answers for the code in this artifact."""
    return any(finding.severity is Severity.ERROR and not (allow_code and finding.is_code) for finding in findings)


def carries_code(findings: Iterable[Finding]) -> bool:
    """Tell whether any finding is about code in the artifact."""
    return any(finding.is_code for finding in findings)
