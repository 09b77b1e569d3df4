"""Python models, read as text: `ast` parses them, nothing of them runs."""

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_repository_tools.findings import Finding

MODEL_CLASS = "TritonPythonModel"
MAX_SOURCE_BYTES = 1 << 20
MAX_IMPORTS = 200

_FIX = "see the python backend's documentation for what model.py must hold"


@dataclass(frozen=True, slots=True)
class PythonModel:
    """What the text of a model.py says.

    Attributes:
        methods: Of `TritonPythonModel`, sorted: `execute`, `initialize`.
        imports: Packages it names anywhere, sorted. What it imports by other ways cannot be seen.
    """

    methods: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return {"methods": list(self.methods), "imports": list(self.imports)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PythonModel":
        """Undo `to_dict`.

        Raises:
            KeyError, TypeError: `value` did not come from `to_dict`.
        """
        return cls(tuple(map(str, value["methods"])), tuple(map(str, value["imports"])))


def inspect_python(path: Path) -> tuple[PythonModel | None, list[Finding]]:
    """Parse a model.py. For files from strangers only in a child process: the parser itself can be made to crash.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        source = file.read(MAX_SOURCE_BYTES + 1)
    if len(source) > MAX_SOURCE_BYTES:
        return None, [_finding("too_large", path.name, f"is larger than {MAX_SOURCE_BYTES} bytes")]
    try:
        with warnings.catch_warnings(action="ignore"):  # about its style, to our terminal
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None, [_finding("syntax", path.name, "is not Python that this tool can read")]
    model = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == MODEL_CLASS), None)
    methods = {node.name for node in model.body if isinstance(node, ast.FunctionDef)} if model else set()
    imports = sorted(set(_imports(tree)))[:MAX_IMPORTS]
    findings = []
    if model is None:
        findings.append(_finding("no_model", path.name, f"has no class {MODEL_CLASS}"))
    elif "execute" not in methods:
        findings.append(_finding("no_execute", path.name, f"has a class {MODEL_CLASS} without a method execute"))
    return PythonModel(tuple(sorted(methods)), tuple(imports)), findings


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _finding(kind: str, path: str, problem: str) -> Finding:
    return Finding(f"python.{kind}", path, f"{path} {problem}", _FIX)
