"""Which file of an upload is what: people pack a model's file, its version's folder, or the model's whole folder."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model_repository_tools.findings import Finding, Severity
from model_repository_tools.inspection.version import CONFIG_FILE

_VERSION_FOLDER = re.compile(r"[1-9][0-9]{0,17}")
MAX_REPORTED = 20


@dataclass(frozen=True, slots=True)
class Layout:
    """`files`: path inside the version -> path in the upload. A config.pbtxt is among them, if there is one."""

    files: Mapping[str, str]
    findings: tuple[Finding, ...] = ()


def lay_out(names: Iterable[str]) -> Layout:
    """Find the version in an upload.

    Understood are: the version's files at the top; Triton's own form, config.pbtxt beside one numbered folder; and each
    of them inside one or more folders with nothing beside them. In Triton's form, what lies beside config.pbtxt and the
    version (labels, warm-up data, other configurations) is left out, with a warning.

    Args:
        names: Safe relative paths, as `unpacking` reports them.
    """
    remaining = {name: name for name in names}
    while (top := _only_folder(remaining)) and not _VERSION_FOLDER.fullmatch(top):
        remaining = {name.removeprefix(top + "/"): source for name, source in remaining.items()}
    numbered = sorted({name.partition("/")[0] for name in remaining if _is_numbered(name)})
    if not numbered:
        return Layout(remaining)
    if len(numbered) > 1:
        message = f"it holds several versions: {', '.join(numbered[:5])}"
        several = Finding("layout.several_versions", "", message, "import one version at a time")
        return Layout({}, (several,))
    prefix = numbered[0] + "/"
    files = {name.removeprefix(prefix): source for name, source in remaining.items() if name.startswith(prefix)}
    if CONFIG_FILE in remaining:
        files[CONFIG_FILE] = remaining[CONFIG_FILE]
    left_out = [name for name in sorted(remaining) if not name.startswith(prefix) and name != CONFIG_FILE]
    return Layout(files, tuple(_left_out(name) for name in left_out[:MAX_REPORTED]))


def _only_folder(names: Iterable[str]) -> str:
    """Return the folder that everything lies in, "" if there is none."""
    tops = {name.partition("/")[:2] for name in names}
    top, slash = next(iter(tops)) if len(tops) == 1 else ("", "")
    return top if slash else ""


def _is_numbered(name: str) -> bool:
    top, slash, _ = name.partition("/")
    return bool(slash and _VERSION_FOLDER.fullmatch(top))


def _left_out(name: str) -> Finding:
    message = f"{name!a:.100} lies outside the version, and is left out"
    return Finding("layout.left_out", ascii(name)[1:-1], message, "put it into the version's folder", Severity.WARNING)
