"""Reads as much of a Dockerfile, and of .dockerignore, as the tests need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of one Dockerfile.

    Attributes:
        instructions: keyword and the rest of the line, continuation lines joined.
    """

    instructions: list[tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        """Reads a file."""
        lines = re.sub(r"\\\n", " ", path.read_text()).splitlines()
        pairs = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
        return cls([(keyword, rest) for keyword, rest in pairs])

    @property
    def bases(self) -> list[str]:
        """The images that the stages start from."""
        return [rest.split()[0] for keyword, rest in self.instructions if keyword == "FROM"]

    @property
    def copies(self) -> list[tuple[list[str], str]]:
        """Sources and target of each copy from the build context."""
        found = [rest.split() for keyword, rest in self.instructions if keyword == "COPY" and "--from=" not in rest]
        return [(parts[:-1], parts[-1]) for parts in found]

    @property
    def sources(self) -> list[str]:
        """Everything copied from the build context."""
        return [source for sources, _ in self.copies for source in sources]

    @property
    def user(self) -> str:
        """Whom its processes run as."""
        return next((rest for keyword, rest in reversed(self.instructions) if keyword == "USER"), "")

    @property
    def locks(self) -> set[str]:
        """The requirement locks that are installed whole."""
        runs = " ".join(rest for keyword, rest in self.instructions if keyword == "RUN")
        return set(re.findall(r"--require-hashes -r /requirements/(\S+)", runs))

    def holds(self, path: str) -> bool:
        """Whether a file of the project is in the image, at its own place below the working folder."""
        wanted = PurePosixPath(path)
        for sources, target in self.copies:
            for source in map(PurePosixPath, sources):
                landed = PurePosixPath(target) / source.name if target.endswith("/") else PurePosixPath(target)
                if landed == source and (wanted == source or source in wanted.parents):
                    return True
        return False


def is_sent(path: str, dockerignore: Path) -> bool:
    """Whether a path reaches the build: the last line that matches it, or a folder it lies in, decides."""
    sent = True
    candidates = [path, *map(str, PurePosixPath(path).parents)][:-1] or [path]
    for line in dockerignore.read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            rule = pattern.removeprefix("!")
            if rule == "*" or any(fnmatch(candidate, rule) for candidate in candidates):
                sent = pattern.startswith("!")
    return sent
