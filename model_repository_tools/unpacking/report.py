"""What came out of an archive or folder, or why nothing did."""

from dataclasses import dataclass
from typing import Any

from model_repository_tools.findings import Finding, has_errors


class RefusedError(Exception):
    """Inside this package: the import ends with this finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def refused(kind: str, path: str, message: str, fix: str) -> RefusedError:
    """Return the error that ends an import with the finding `unpack.<kind>`."""
    return RefusedError(Finding(f"unpack.{kind}", ascii(path[:100])[1:-1], message, fix))


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """A file that was handed out: its path inside the version, and its size."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UnpackReport:
    """The outcome of an import.

    Attributes:
        form: `zip`, `tar`, `tar.gz`, `folder`; "" if it is none of them.
        files: What the sink took, in the order of the archive. With an error among the findings: throw it away.
        findings: Why the import was refused; the first problem ends it.
    """

    form: str
    files: tuple[UnpackedFile, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_complete(self) -> bool:
        """True if everything in the archive was handed out."""
        return not has_errors(self.findings)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return {
            "form": self.form,
            "files": [{"path": file.path, "size": file.size_bytes} for file in self.files],
            "findings": [finding.to_dict() for finding in self.findings],
        }
