"""kill -9 before every single change to the disk, then the same step again."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_repository_tools.manifest import Manifest, verify
from model_repository_tools.repository import FolderRepository
from tests.model_repository_tools.repository import crash_steps


def make_store(folder: Path) -> None:
    """Make an artifact store with an immutable file and a working copy that anybody may write."""
    (folder / "store").mkdir(parents=True)
    (folder / "store" / "model").write_bytes(b"model")
    (folder / "store" / "model").chmod(0o444)
    (folder / "store" / "weights").write_bytes(b"weights")


def published(folder: Path) -> FolderRepository:
    make_store(folder)
    crash_steps.run_step(folder, "publish")
    return FolderRepository(folder / "models")


@pytest.fixture
def complete(tmp_path: Path) -> Manifest:
    """What the version must be, whenever it can be seen."""
    return published(tmp_path / "undisturbed").read_manifest("m.v1")


def crashes(folder: Path, step: str, prepare: Callable[[Path], object]) -> Iterator[Path]:
    """Yield folders in which `step` was killed before its first change, its second, and so on until it finished."""
    for number in itertools.count(1):
        case = folder / f"case-{number}"
        prepare(case)
        status = subprocess.run(
            [sys.executable, crash_steps.__file__, os.fspath(case), step, str(number)],
            check=False,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
        ).returncode
        assert status in {0, -signal.SIGKILL}
        yield case
        shutil.rmtree(case)
        if status == 0:
            assert number > 2, "the step was never killed"
            return


def assert_nothing_half_written(repository: FolderRepository, complete: Manifest) -> None:
    for name in repository.names():
        assert verify(complete, repository.root / name) == []
    for name in repository.retired_names():
        assert verify(complete, repository.attic / name) == []


def assert_store_untouched(case: Path) -> None:
    assert (case / "store" / "model").read_bytes() == b"model"
    assert (case / "store" / "weights").read_bytes() == b"weights"
    assert (case / "store" / "model").stat().st_mode & 0o777 == 0o444


def test_a_publish_killed_anywhere_shows_nothing_or_all_and_can_be_run_again(
    tmp_path: Path, complete: Manifest
) -> None:
    states = set()
    for case in crashes(tmp_path, "publish", make_store):
        repository = FolderRepository(case / "models")
        assert_nothing_half_written(repository, complete)
        states.add(repository.contains("m.v1"))
        crash_steps.run_step(case, "publish")
        assert repository.read_manifest("m.v1") == complete
        repository.reap_stages()
        assert [path.name for path in repository.staging.rglob("*")] == [".trash"]
        assert_store_untouched(case)
    assert states == {False, True}


def test_a_killed_publish_can_be_given_up_instead(tmp_path: Path, complete: Manifest) -> None:
    for case in crashes(tmp_path, "publish", make_store):
        repository = FolderRepository(case / "models")
        repository.reap_stages()
        if repository.staging.exists():
            assert {path.name for path in repository.staging.rglob("*")} <= {".trash"}
        assert_nothing_half_written(repository, complete)
        assert_store_untouched(case)


def test_a_commit_can_be_finished_by_another_process(tmp_path: Path, complete: Manifest) -> None:
    for case in crashes(tmp_path, "publish", make_store):
        repository = FolderRepository(case / "models")
        crash_steps.run_step(case, "commit")
        assert_nothing_half_written(repository, complete)
        crash_steps.run_step(case, "commit")
        assert_nothing_half_written(repository, complete)


def test_a_retirement_killed_anywhere_loses_nothing(tmp_path: Path, complete: Manifest) -> None:
    states = set()
    for case in crashes(tmp_path, "retire", published):
        repository = FolderRepository(case / "models")
        assert_nothing_half_written(repository, complete)
        states.add((repository.names(), repository.retired_names()))
        crash_steps.run_step(case, "retire")
        assert (repository.names(), repository.retired_names()) == ((), ("m.v1",))
        assert_nothing_half_written(repository, complete)
    assert states == {(("m.v1",), ()), ((), ("m.v1",))}


def test_a_second_retirement_killed_anywhere_loses_nothing(tmp_path: Path, complete: Manifest) -> None:
    def retired_and_published_again(case: Path) -> None:
        published(case).retire("m.v1")
        crash_steps.run_step(case, "publish")

    for case in crashes(tmp_path, "retire", retired_and_published_again):
        repository = FolderRepository(case / "models")
        assert "m.v1" in {*repository.names(), *repository.retired_names()}
        assert_nothing_half_written(repository, complete)
        crash_steps.run_step(case, "retire")
        assert (repository.names(), repository.retired_names()) == ((), ("m.v1",))


def test_a_restore_killed_anywhere_loses_nothing(tmp_path: Path, complete: Manifest) -> None:
    for case in crashes(tmp_path, "restore", lambda case: published(case).retire("m.v1")):
        repository = FolderRepository(case / "models")
        assert_nothing_half_written(repository, complete)
        crash_steps.run_step(case, "restore")
        assert (repository.names(), repository.retired_names()) == (("m.v1",), ())
        assert repository.read_manifest("m.v1") == complete


def test_clearing_up_killed_anywhere_can_be_run_again(tmp_path: Path) -> None:
    def staged(case: Path) -> None:
        make_store(case)
        files = {"model.onnx": case / "store" / "model"}
        FolderRepository(case / "models").stage("p1", "m.v1", 1, files=files, config_text="")

    for case in crashes(tmp_path, "reap", staged):
        repository = FolderRepository(case / "models")
        repository.reap_stages()
        assert [path.name for path in repository.staging.rglob("*")] == [".trash"]
        assert_store_untouched(case)
