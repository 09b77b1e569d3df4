"""Finding files that are code, or that run code when they are loaded. By content first: a name proves nothing."""

import pickletools
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_repository_tools.findings import Finding, Severity

PYTHON_STUB = "triton_python_backend_stub"

_HEAD_BYTES = 1 << 16
_LOOSE_END = 300  # a cut pickle fails somewhere in its last opcode
_PICKLE_HEADS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_DECLARED_ENOUGH = 11  # bytes that disassemble: the mark, and a frame after it
_IMPORTS = frozenset({"GLOBAL", "INST", "STACK_GLOBAL"})
_NUMPY_OBJECTS = re.compile(rb"\A\x93NUMPY.{0,16}\{[^}]*'descr':\s*'\|O", re.DOTALL)
_LIBRARY_HEADS = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"!<arch>\n")
_LIBRARY_NAME = re.compile(r"\.(so(\.\d+)*|dll|dylib|a|o|node|wasm)\Z", re.IGNORECASE)
_ARCHIVE_HEADS = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt"})
_SCRIPT_SUFFIXES = frozenset(
    {".py", ".pyc", ".pyo", ".pyd", ".sh", ".bash", ".pl", ".rb", ".js", ".lua", ".ipynb", ".jar", ".class"}
)
_GRAPH_SUFFIXES = frozenset([".pb", ".h5", ".hdf5", ".keras", ".tflite", ".mlmodel"])


@dataclass(frozen=True, slots=True)
class _Suspicion:
    kind: str
    what: str
    severity: Severity = Severity.ERROR


def find_code(folder: Path, names: list[str], model_file: str) -> Iterator[Finding]:
    """Yield a finding for every file that is code, or runs code when loaded.

    Args:
        folder: Where the files lie.
        names: Their paths in it.
        model_file: The one that `inspection` has read itself, and judges itself.

    Raises:
        OSError: A file cannot be read.
    """
    for name in names:
        with (folder / name).open("rb") as file:
            head = file.read(_HEAD_BYTES)
        suspicion = _suspect(name, head, is_model=name == model_file)
        if suspicion is not None:
            message = f"{name!a:.100} {suspicion.what}"
            yield Finding(suspicion.kind, ascii(name)[1:-1], message, _fix(suspicion), suspicion.severity)


def _suspect(name: str, head: bytes, *, is_model: bool) -> _Suspicion | None:
    base, suffix = Path(name).name, Path(name).suffix.lower()
    if base.lower().startswith(PYTHON_STUB):
        return _Suspicion("code.backend_stub", "is a program that Triton would start instead of its own")
    if head.startswith(_LIBRARY_HEADS) or _LIBRARY_NAME.search(base):
        return _Suspicion("code.native_library", "is a library or program")
    if _is_pickle(suffix, head):
        return _Suspicion("code.pickle", "is a pickle: loading it can run any code")
    if is_model:
        return None
    if suffix in _SCRIPT_SUFFIXES or head.startswith(b"#!"):
        return _Suspicion("code.script", "is a script")
    if suffix in _GRAPH_SUFFIXES:
        return _Suspicion("code.graph", "is a graph of a framework whose operators can read and write files")
    if head.startswith(_ARCHIVE_HEADS):
        return _Suspicion("version.nested_archive", "is an archive: nobody looked into it", Severity.WARNING)
    return None


def _is_pickle(suffix: str, head: bytes) -> bool:
    # PyTorch's own format is a zip with the pickle as its first or second entry.
    torch = head.startswith(b"PK\x03\x04") and b"data.pkl" in head
    return suffix in _PICKLE_SUFFIXES or torch or bool(_NUMPY_OBJECTS.match(head)) or _reads_as_pickle(head)


def _reads_as_pickle(head: bytes) -> bool:
    """Tell whether these bytes are a pickle, by disassembling them. A list of names in a text file mostly is not.

    Protocols from 2 on declare themselves, older ones count if they import something.
    """
    declared, imports, position = head.startswith(_PICKLE_HEADS), False, 0
    try:
        with warnings.catch_warnings(action="ignore"):
            for opcode, _, start in pickletools.genops(head):
                imports, position = imports or opcode.name in _IMPORTS, start or 0
                if opcode.name == "STOP":
                    return declared or imports
    except (ValueError, LookupError, OverflowError):
        is_cut = len(head) == _HEAD_BYTES and position > len(head) - _LOOSE_END
        return (declared and position > _DECLARED_ENOUGH) or (imports and is_cut)
    return False


def _fix(suspicion: _Suspicion) -> str:
    if suspicion.severity is not Severity.ERROR:
        return "unpack it, or leave it out"
    return "leave it out, or let a second person approve the code in this version"
