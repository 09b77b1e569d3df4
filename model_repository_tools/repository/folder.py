"""A model repository in a folder: stage beside it, commit with one rename, retire with another.

```
<root>/digits.v3/{config.pbtxt, 3/model.onnx}          what Triton sees
<root>.staging/<publication>.<attempt>.ready/digits.v3  complete, synced, waiting for its commit
<root>.staging/<publication>.<attempt>.partial/...      being written, or left by a crash
<root>.attic/digits.v3/                                 retired, can come back
```

Staging and attic lie *beside* the root, because Triton takes every folder in it for a model, and on the same file
system, because only there is a rename atomic.

On times. Triton reloads a loaded model only if something in its folder is newer than at the last load, so restoring old
times can keep old bytes serving behind a 200. That cannot happen here: every version has a model name of its own and a
name is never reused for other bytes; and the version's folders and config.pbtxt are new files with new times. A
hard-linked artifact keeps the store's old time on purpose: setting it would alter the store's own file.
Source: `ModelTimestamp` in triton-inference-server/core.
"""

import errno
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_repository_tools.errors import (
    NotInRepositoryError,
    RepositoryConflictError,
    RepositoryError,
    StageLostError,
    UnsafePathError,
)
from model_repository_tools.manifest import Manifest
from model_repository_tools.paths import safe_publication_id, safe_relative_paths, safe_triton_name
from model_repository_tools.repository import files as on_disk

_PARTIAL = ".partial"
_READY = ".ready"


@dataclass(frozen=True, slots=True)
class StagedVersion:
    """A complete, synced model folder that waits for its `commit`."""

    publication_id: str
    triton_name: str
    path: Path
    manifest: Manifest


class FolderRepository:
    """Publishes versions into a folder that Triton serves from.

    Invariants:
        Under the root lies nothing but complete model folders, at every moment, also after kill -9 or a power cut.
        Every step can be run again after a crash, by any process, and then ends in the same state.

    Two attempts of one publication may run at once (a task queue delivers twice): each writes a stage of its own, the
    later one wins, the earlier one gets `StageLostError` or finds the work done.
    """

    def __init__(self, root: Path, staging: Path | None = None, attic: Path | None = None) -> None:
        self.root = root
        self.staging = staging or root.with_name(root.name + ".staging")
        self.attic = attic or root.with_name(root.name + ".attic")
        self._trash = self.staging / ".trash"

    def stage(
        self,
        publication_id: str,
        triton_name: str,
        number: int,
        *,
        files: Mapping[str, Path],
        config_text: str,
        warm_up: Mapping[str, bytes] | None = None,
    ) -> StagedVersion:
        """Build the model folder outside Triton's sight, durably. Earlier stages of this publication are discarded.

        Args:
            publication_id: Names the attempt at publishing, for `find_stage` and `reap_stages`.
            triton_name: The model's folder, `digits.v3`.
            number: The version's folder, `3`.
            files: Path relative to the version's folder -> file to take the bytes from, which is never changed.
            config_text: The whole config.pbtxt.
            warm_up: Name -> raw bytes, for the files that `model_warmup` of the config names.

        Raises:
            UnsafePathError: A name is unsafe or collides.
            StageLostError: Another attempt of the same publication took over.
            RepositoryError: A source is missing, the disk is full, or folders lie on different file systems.
        """
        safe_publication_id(publication_id)
        safe_triton_name(triton_name)
        safe_relative_paths(files)
        safe_relative_paths(warm_up or ())
        if number < 1:
            raise RepositoryError("version numbers begin at 1", code="repository.bad_number")
        self._prepare()
        self.discard_stage(publication_id)
        attempt = f"{publication_id}.{secrets.token_hex(8)}"
        partial, ready = self.staging / (attempt + _PARTIAL), self.staging / (attempt + _READY)
        model = partial / triton_name
        with _disk_errors():
            for folder in (partial, model, model / str(number)):
                on_disk.make_folder(folder)
            _place_files(model / str(number), files)
            _write_files(model / "warmup", warm_up or {})
            on_disk.write_file(model / "config.pbtxt", config_text.encode())
            on_disk.sync_folders(partial)
            partial.rename(ready)
            on_disk.sync(self.staging)
            return _staged(publication_id, ready / triton_name)

    def find_stage(self, publication_id: str) -> StagedVersion | None:
        """Return the finished stage of a publication if there is one, with the manifest of what is on disk now."""
        with _disk_errors():
            for attempt in self._attempts(publication_id):
                for model in on_disk.folders_in(attempt):
                    if attempt.suffix == _READY:
                        return _staged(publication_id, model)
        return None

    def commit(self, staged: StagedVersion) -> None:
        """Make the staged folder appear in the repository, by one rename. Done already with equal bytes: nothing to do.

        Verify the manifest before, and load, check and route only after.

        Raises:
            RepositoryConflictError: The name is taken by other bytes.
            StageLostError: The stage is gone and the model is not in the repository: stage again.
        """
        target = self.root / staged.triton_name
        try:
            with _disk_errors():
                staged.path.rename(target)
        except StageLostError:
            if not self.contains(staged.triton_name):
                raise
            self._check_same(staged.triton_name, staged.manifest)
        except RepositoryConflictError:
            self._check_same(staged.triton_name, staged.manifest)
        with _disk_errors():
            on_disk.sync(self.root)
        self.discard_stage(staged.publication_id)

    def discard_stage(self, publication_id: str) -> None:
        """Remove all stages of a publication. Without any, nothing happens."""
        for attempt in self._attempts(publication_id):
            on_disk.discard(attempt, self._trash)

    def reap_stages(self, keep: Collection[str] = ()) -> tuple[str, ...]:
        """Remove what crashes left in staging, except the publications in `keep` (those still running).

        Returns:
            The publication ids that were removed.
        """
        stages = [path for path in on_disk.folders_in(self.staging) if path != self._trash]
        doomed = [path for path in stages if _publication(path) not in keep]
        for path in [*doomed, *on_disk.folders_in(self._trash)]:
            on_disk.discard(path, self._trash)
        return tuple(sorted({_publication(path) for path in doomed}))

    def retire(self, triton_name: str) -> None:
        """Move a model out of Triton's sight into the attic. Already there: nothing to do.

        Unload it first: a loaded model goes on serving, but a restarted Triton will not find it.

        Raises:
            NotInRepositoryError: Neither the repository nor the attic has it.
        """
        source, target = self.root / safe_triton_name(triton_name), self.attic / triton_name
        self._prepare()
        if not source.is_dir():
            self._require(target, "attic")
            return
        on_disk.discard(target, self._trash)  # of an earlier life of the same version; the store has its bytes
        self._move(source, target)

    def restore(self, triton_name: str) -> None:
        """Bring a retired model back into Triton's sight. Already there: nothing to do.

        Raises:
            NotInRepositoryError: Neither the attic nor the repository has it.
            RepositoryConflictError: The repository has other bytes under that name.
        """
        source, target = self.attic / safe_triton_name(triton_name), self.root / triton_name
        self._prepare()
        if not source.is_dir():
            self._require(target, "repository")
        elif not target.exists():
            self._move(source, target)
        else:
            self._check_same(triton_name, Manifest.of_folder(source))
            on_disk.discard(source, self._trash)

    def discard_retired(self, triton_name: str) -> None:
        """End the undo window: remove a model from the attic for good. Without one, nothing happens."""
        on_disk.discard(self.attic / safe_triton_name(triton_name), self._trash)

    def contains(self, triton_name: str) -> bool:
        """Tell whether Triton would find this model."""
        return (self.root / safe_triton_name(triton_name)).is_dir()

    def names(self) -> tuple[str, ...]:
        """Return the folders that Triton takes for models, sorted; also those put there by hand."""
        return tuple(path.name for path in on_disk.folders_in(self.root))

    def retired_names(self) -> tuple[str, ...]:
        """Return the models in the attic, sorted."""
        return tuple(path.name for path in on_disk.folders_in(self.attic))

    def read_manifest(self, triton_name: str) -> Manifest:
        """Hash what lies in the repository under this name, now.

        Raises:
            NotInRepositoryError: Nothing does.
            UnsafePathError: It is a link or a file, or a link or special file lies in it.
        """
        folder = self.root / safe_triton_name(triton_name)
        if folder.is_symlink() or folder.is_file():
            raise UnsafePathError(f"{triton_name} is a link or a file, not a folder", code="path.not_a_folder")
        try:
            return Manifest.of_folder(folder)
        except FileNotFoundError as error:
            raise NotInRepositoryError(f"{triton_name} is not in the repository") from error

    def _attempts(self, publication_id: str) -> list[Path]:
        safe_publication_id(publication_id)
        return [path for path in on_disk.folders_in(self.staging) if _publication(path) == publication_id]

    def _prepare(self) -> None:
        with _disk_errors():
            for folder in (self.root, self.staging, self.attic, self._trash):
                folder.mkdir(parents=True, exist_ok=True)
            if len({folder.stat().st_dev for folder in (self.root, self.staging, self.attic)}) > 1:
                raise RepositoryError(
                    "repository, staging and attic must lie on one file system, or no rename is atomic",
                    code="repository.other_filesystem",
                )
        root = self.root.resolve()
        if any(folder.resolve().is_relative_to(root) for folder in (self.staging, self.attic)):
            raise RepositoryError(
                "staging and attic must lie outside the repository: Triton takes every folder in it for a model",
                code="repository.nested",
            )

    def _move(self, source: Path, target: Path) -> None:
        gone = NotInRepositoryError(f"{source.name} was moved by somebody else meanwhile; run the step again")
        with _disk_errors(gone):
            source.rename(target)
            # The new name first: after a power cut between the two, the folder may be in both places but never in none.
            on_disk.sync(target.parent)
            on_disk.sync(source.parent)

    def _check_same(self, triton_name: str, manifest: Manifest) -> None:
        if self.read_manifest(triton_name) != manifest:
            raise RepositoryConflictError(
                f"{triton_name} is already in the repository with other bytes; a published version never changes: "
                "publish under a new version number, or retire this one first",
            )

    @staticmethod
    def _require(path: Path, place: str) -> None:
        if not path.is_dir():
            raise NotInRepositoryError(
                f"{path.name} is neither in the repository nor in the attic (looked for it in the {place})"
            )


def _publication(attempt: Path) -> str:
    return attempt.name.partition(".")[0]


def _staged(publication_id: str, model: Path) -> StagedVersion:
    return StagedVersion(publication_id, model.name, model, Manifest.of_folder(model))


def _place_files(folder: Path, files: Mapping[str, Path]) -> None:
    for name, source in files.items():
        on_disk.make_folders_below(folder, Path(name).parent)
        if not source.is_file() or source.is_symlink():
            raise RepositoryError(f"the source of {name!a} is missing or a link", code="repository.source_missing")
        on_disk.place_file(source, folder / name)


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    if contents:
        on_disk.make_folder(folder)
    for name, content in contents.items():
        on_disk.make_folders_below(folder, Path(name).parent)
        on_disk.write_file(folder / name, content)


@contextmanager
def _disk_errors(gone: RepositoryError | None = None) -> Iterator[None]:
    """Turn what the disk says into this library's errors, without absolute paths in their texts."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            lost = StageLostError("the stage is gone: another attempt took over, or it was reaped; stage again")
            raise gone or lost from error
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise RepositoryConflictError("the name is already taken in the repository") from error
        reason = error.strerror or type(error).__name__
        raise RepositoryError(f"the repository's disk refused: {reason}", code="repository.disk") from error
