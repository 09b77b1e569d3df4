"""docs/benchmarks.md: one section a benchmark, rewritten by the benchmark alone."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

REPORT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
TITLE = """# Measured figures

Each section is written by the command it names; run it to see what your machine does. `make prove` runs all of them.
"""


@dataclass(frozen=True)
class Figure:
    """One measured value; `limit` is what it must not pass, empty where nothing is promised."""

    what: str
    value: str
    limit: str


@dataclass(frozen=True)
class Section:
    """What one benchmark found."""

    title: str
    command: str
    machine: str
    figures: list[Figure]

    def text(self) -> str:
        """The section as Markdown."""
        rows = [f"| {figure.what} | {figure.value} | {figure.limit} |" for figure in self.figures]
        return "\n".join(
            [
                f"## {self.title}",
                "",
                f"`{self.command}`, {datetime.now(tz=UTC):%Y-%m-%d}, {self.machine}.",
                "",
                "| what | measured | limit |",
                "| --- | --- | --- |",
                *rows,
                "",
            ]
        )


def machine() -> str:
    """This machine in a few words: what a figure depends on, nothing that names it."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = model[1] if model else platform.machine()
    return f"{os.cpu_count()} cores of {processor}, {memory_gib:.0f} GiB, Python {platform.python_version()}"


def write_section(section: Section) -> None:
    """Puts a section into the report, in place of the one with its title."""
    report = REPORT.read_text() if REPORT.exists() else TITLE
    pattern = re.compile(rf"^## {re.escape(section.title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = section.text()
    report = pattern.sub(lambda _: text, report) if pattern.search(report) else f"{report.rstrip()}\n\n{text}"
    REPORT.write_text(report)
