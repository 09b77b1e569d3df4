import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_repository_tools.errors import (
    NotInRepositoryError,
    RepositoryConflictError,
    RepositoryError,
    StageLostError,
    UnsafePathError,
)
from model_repository_tools.manifest import Manifest, hash_file, verify
from model_repository_tools.repository import FolderRepository, StagedVersion

CONFIG = 'name: "digits.v3"'


@pytest.fixture
def repository(tmp_path: Path) -> FolderRepository:
    return FolderRepository(tmp_path / "models")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "store" / "ab"
    path.parent.mkdir()
    path.write_bytes(b"model")
    path.chmod(0o444)
    os.utime(path, (1, 1))
    return path


def stage(
    repository: FolderRepository, artifact: Path, publication: str = "p1", config: str = CONFIG, name: str = "digits.v3"
) -> StagedVersion:
    return repository.stage(publication, name, 3, files={"model.onnx": artifact}, config_text=config)


def test_a_stage_is_complete_and_out_of_tritons_sight(repository: FolderRepository, artifact: Path) -> None:
    staged = stage(repository, artifact)
    assert repository.names() == ()
    assert not repository.contains("digits.v3")
    assert [entry.path for entry in staged.manifest.entries] == ["3/model.onnx", "config.pbtxt"]
    assert verify(staged.manifest, staged.path) == []
    assert repository.find_stage("p1") == staged


def test_a_manifest_can_be_known_before_staging(repository: FolderRepository, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    expected = Manifest.of_entries(
        [("3/model.onnx", *hash_file(artifact)), ("config.pbtxt", *hash_file(tmp_path / "config"))]
    )
    assert stage(repository, artifact).manifest == expected


def test_a_commit_makes_the_whole_version_appear(repository: FolderRepository, artifact: Path) -> None:
    staged = stage(repository, artifact)
    repository.commit(staged)
    model = repository.root / "digits.v3"
    assert (model / "3" / "model.onnx").read_bytes() == b"model"
    assert (model / "config.pbtxt").read_text() == CONFIG
    assert repository.read_manifest("digits.v3") == staged.manifest
    assert repository.names() == ("digits.v3",)
    assert repository.find_stage("p1") is None


def test_the_artifact_is_never_changed(repository: FolderRepository, artifact: Path) -> None:
    before = artifact.stat()
    repository.commit(stage(repository, artifact))
    repository.retire("digits.v3")
    repository.discard_retired("digits.v3")
    after = artifact.stat()
    assert (after.st_mtime, after.st_mode, after.st_size) == (before.st_mtime, before.st_mode, before.st_size)
    assert artifact.read_bytes() == b"model"


def test_folders_and_configuration_are_newer_than_anything_triton_loaded(
    repository: FolderRepository, artifact: Path
) -> None:
    begin = time.time() - 1
    repository.commit(stage(repository, artifact))
    model = repository.root / "digits.v3"
    assert all(path.stat().st_mtime > begin for path in (model, model / "3", model / "config.pbtxt"))


def test_files_in_folders_and_warm_up_files_find_their_places(repository: FolderRepository, artifact: Path) -> None:
    files = {"a/b/c.bin": artifact, "a/b/d.bin": artifact, "model.onnx": artifact}
    staged = repository.stage("p1", "m.v1", 1, files=files, config_text="", warm_up={"golden-0": b"x"})
    assert {entry.path for entry in staged.manifest.entries} == {
        "1/a/b/c.bin",
        "1/a/b/d.bin",
        "1/model.onnx",
        "config.pbtxt",
        "warmup/golden-0",
    }


def test_a_model_without_files_still_has_its_version_folder(repository: FolderRepository) -> None:
    staged = repository.stage("p1", "ensemble.v2", 2, files={}, config_text="")
    assert (staged.path / "2").is_dir()


def test_publishing_the_same_again_changes_nothing(repository: FolderRepository, artifact: Path) -> None:
    repository.commit(stage(repository, artifact))
    inode = (repository.root / "digits.v3").stat().st_ino
    repository.commit(stage(repository, artifact))
    assert (repository.root / "digits.v3").stat().st_ino == inode
    assert list(repository.staging.iterdir()) == [repository.staging / ".trash"]


def test_a_published_version_is_never_replaced_by_other_bytes(repository: FolderRepository, artifact: Path) -> None:
    repository.commit(stage(repository, artifact))
    with pytest.raises(RepositoryConflictError, match="never changes") as caught:
        repository.commit(stage(repository, artifact, config="other"))
    assert caught.value.code == "repository.conflict"
    assert (repository.root / "digits.v3" / "config.pbtxt").read_text() == CONFIG


def test_a_file_or_link_in_the_way_is_not_overwritten(
    repository: FolderRepository, artifact: Path, tmp_path: Path
) -> None:
    repository.root.mkdir()
    (repository.root / "digits.v3").write_text("by hand")
    with pytest.raises(UnsafePathError):
        repository.commit(stage(repository, artifact))
    assert (repository.root / "digits.v3").read_text() == "by hand"
    (repository.root / "digits.v3").unlink()
    (repository.root / "digits.v3").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError):
        repository.commit(stage(repository, artifact))
    assert (repository.root / "digits.v3").is_symlink()


def test_staging_again_replaces_the_earlier_stage(repository: FolderRepository, artifact: Path) -> None:
    first = stage(repository, artifact)
    second = stage(repository, artifact, config="other")
    assert repository.find_stage("p1") == second
    with pytest.raises(StageLostError):
        repository.commit(first)
    repository.commit(second)


def test_an_attempt_that_lost_its_stage_finds_the_work_done(repository: FolderRepository, artifact: Path) -> None:
    first = stage(repository, artifact)
    repository.commit(stage(repository, artifact))
    repository.commit(first)
    assert repository.names() == ("digits.v3",)


def test_attempts_at_once_end_in_one_whole_version(repository: FolderRepository, artifact: Path) -> None:
    def attempt(_: int) -> bool:
        try:
            repository.commit(stage(repository, artifact))
        except StageLostError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(40)))
    assert any(outcomes)
    repository.commit(stage(repository, artifact))
    expected = stage(repository, artifact, "p2").manifest
    assert repository.read_manifest("digits.v3") == expected


def test_a_tampered_stage_is_noticed_before_its_commit(repository: FolderRepository, artifact: Path) -> None:
    staged = stage(repository, artifact)
    (staged.path / "config.pbtxt").chmod(0o644)
    (staged.path / "config.pbtxt").write_text(CONFIG.replace("3", "4"))
    assert [finding.path for finding in verify(staged.manifest, staged.path)] == ["config.pbtxt"]


@pytest.mark.parametrize("name", ["../model.onnx", "/model.onnx", ".hidden", "a\\b"])
def test_unsafe_names_write_nothing(repository: FolderRepository, artifact: Path, name: str) -> None:
    with pytest.raises(UnsafePathError):
        repository.stage("p1", "m.v1", 1, files={name: artifact}, config_text="")
    with pytest.raises(UnsafePathError):
        repository.stage("p1", "m.v1", 1, files={}, config_text="", warm_up={name: b""})
    with pytest.raises(UnsafePathError):
        repository.stage(f"../{name}", "m.v1", 1, files={}, config_text="")
    with pytest.raises(UnsafePathError):
        repository.stage("p1", f"../{name}", 1, files={}, config_text="")
    assert not repository.staging.exists()


@pytest.mark.parametrize("name", ["..", "../x", "", "/etc"])
def test_every_step_refuses_a_name_that_is_no_model(repository: FolderRepository, name: str) -> None:
    steps = (repository.retire, repository.restore, repository.discard_retired, repository.contains)
    for step in (*steps, repository.read_manifest):
        with pytest.raises(UnsafePathError):
            step(name)


def test_a_missing_source_is_an_error_that_names_the_file_only(repository: FolderRepository, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"'model\.onnx'") as caught:
        repository.stage("p1", "m.v1", 1, files={"model.onnx": tmp_path / "missing"}, config_text="")
    assert caught.value.code == "repository.source_missing"
    assert str(tmp_path) not in str(caught.value)


def test_version_numbers_begin_at_one(repository: FolderRepository) -> None:
    with pytest.raises(RepositoryError, match="begin at 1"):
        repository.stage("p1", "m.v0", 0, files={}, config_text="")


def test_staging_on_another_file_system_is_refused(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm") / f"stage-{tmp_path.parent.name}-{os.getpid()}"  # noqa: S108 - another file system
    repository = FolderRepository(tmp_path / "models", staging=elsewhere)
    try:
        with pytest.raises(RepositoryError) as caught:
            repository.stage("p1", "m.v1", 1, files={}, config_text="")
        assert caught.value.code == "repository.other_filesystem"
    finally:
        (elsewhere / ".trash").rmdir()
        elsewhere.rmdir()


@pytest.mark.parametrize("part", ["staging", "attic"])
def test_staging_or_attic_inside_the_repository_is_refused(tmp_path: Path, part: str) -> None:
    root = tmp_path / "models"
    nested = {part: root / "nested"}
    with pytest.raises(RepositoryError) as caught:
        FolderRepository(root, **nested).stage("p1", "m.v1", 1, files={}, config_text="")
    assert caught.value.code == "repository.nested"


def test_retiring_hides_a_version_and_restoring_brings_it_back(repository: FolderRepository, artifact: Path) -> None:
    staged = stage(repository, artifact)
    repository.commit(staged)
    for _ in range(2):
        repository.retire("digits.v3")
        assert (repository.names(), repository.retired_names()) == ((), ("digits.v3",))
    for _ in range(2):
        repository.restore("digits.v3")
        assert (repository.names(), repository.retired_names()) == (("digits.v3",), ())
    assert repository.read_manifest("digits.v3") == staged.manifest


def test_what_is_nowhere_can_be_neither_retired_nor_restored(repository: FolderRepository) -> None:
    for step in (repository.retire, repository.restore, repository.read_manifest):
        with pytest.raises(NotInRepositoryError):
            step("no.v1")
    repository.discard_retired("no.v1")


def test_restoring_over_other_bytes_is_refused_and_over_equal_ones_tidies_up(
    repository: FolderRepository, artifact: Path
) -> None:
    repository.commit(stage(repository, artifact))
    repository.retire("digits.v3")
    repository.commit(stage(repository, artifact, config="other"))
    with pytest.raises(RepositoryConflictError):
        repository.restore("digits.v3")
    assert repository.retired_names() == ("digits.v3",)
    repository.retire("digits.v3")
    repository.commit(stage(repository, artifact, config="other"))
    repository.restore("digits.v3")
    assert (repository.names(), repository.retired_names()) == (("digits.v3",), ())


def test_reaping_leaves_running_publications_alone(repository: FolderRepository, artifact: Path) -> None:
    kept = stage(repository, artifact, "running", name="a.v1")
    stage(repository, artifact, "crashed", name="b.v1")
    (repository.staging / ".trash" / "half-removed").mkdir()
    assert repository.reap_stages(keep={"running"}) == ("crashed",)
    assert verify(kept.manifest, kept.path) == []
    assert {path.name.partition(".")[0] for path in repository.staging.iterdir()} == {"", "running"}
    assert list((repository.staging / ".trash").iterdir()) == []


def test_reaping_an_unused_repository_does_nothing(repository: FolderRepository) -> None:
    assert repository.reap_stages() == ()


def test_a_hundred_publishes_and_retirements_leave_nothing_behind(repository: FolderRepository, artifact: Path) -> None:
    for number in range(1, 101):
        staged = repository.stage("p1", f"m.v{number}", number, files={"model.onnx": artifact}, config_text=CONFIG)
        repository.commit(staged)
        if number > 1:
            repository.retire(f"m.v{number - 1}")
            repository.discard_retired(f"m.v{number - 1}")
    assert repository.names() == ("m.v100",)
    assert artifact.stat().st_nlink == 2
