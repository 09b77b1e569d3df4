"""Imports by a worker: from uploads and from the server's own files."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from controlplane.accounts.domain import Role
from controlplane.accounts.models import User
from controlplane.audit.domain import Actor
from controlplane.env import control_settings
from controlplane.registry.artifacts import artifact_store
from controlplane.registry.domain import ImportState, VersionState
from controlplane.registry.errors import (
    AlreadyExistsError,
    ArtifactRefusedError,
    ImportPathError,
    ImportStateError,
    InvalidNameError,
    UploadStateError,
)
from controlplane.registry.import_jobs import (
    NewImport,
    cancel_import,
    get_import,
    hand_out_imports,
    request_import,
    retry_import,
    run_import,
)
from controlplane.registry.import_jobs.runner import CancelledError, Progress, TakenOverError
from controlplane.registry.models import ModelVersion, RegisteredModel, Upload, VersionImport
from controlplane.registry.uploads import create_upload, receive_bytes
from tests.support.models import imported_version, registered_model, scaling_graph, scaling_sample

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ana() -> Actor:
    return User.objects.create_user("ana", role=Role.DEVELOPER).as_actor()


@pytest.fixture
def model() -> RegisteredModel:
    return registered_model("digits")


def uploaded(actor: Actor, content: bytes) -> Upload:
    upload = create_upload(actor, length=len(content))
    return receive_bytes(actor, upload=upload, offset=0, source=io.BytesIO(content))


def requested(actor: Actor, model: RegisteredModel, content: bytes | None = None, **more: Any) -> VersionImport:
    upload = uploaded(actor, scaling_graph() if content is None else content)
    return request_import(actor, model=model, new=NewImport(semver="1.0.0", uploads={"model.onnx": upload.pk}, **more))


def test_an_upload_becomes_a_version_of_the_person_who_asked(ana: Actor, model: RegisteredModel) -> None:
    job = requested(ana, model, metrics={"accuracy": 0.97}, golden_samples=[scaling_sample()], dataset_notes="8x8")

    assert run_import(job.pk) == ImportState.SUCCEEDED

    job, version = get_import(job.pk), ModelVersion.objects.get()
    assert (job.version, job.error, job.bytes_done, job.bytes_total) == (version, "", *[len(scaling_graph())] * 2)
    assert (version.state, version.created_by, version.number) == (VersionState.VALIDATED, "user:ana", 1)
    assert (version.metrics, version.dataset_notes) == ({"accuracy": 0.97}, "8x8")
    assert version.golden_samples.count() == 1
    assert run_import(job.pk) is None


def test_one_upload_may_serve_several_paths(ana: Actor, model: RegisteredModel) -> None:
    graph = uploaded(ana, scaling_graph())
    job = request_import(
        ana, model=model, new=NewImport("1.0.0", uploads={"model.onnx": graph.pk, "extra/copy.onnx": graph.pk})
    )

    run_import(job.pk)

    assert [file.path for file in ModelVersion.objects.get().files.all()] == ["extra/copy.onnx", "model.onnx"]


def test_files_that_cannot_be_served_are_refused_with_findings(ana: Actor, model: RegisteredModel) -> None:
    job = requested(ana, model, b"this is no graph")

    assert run_import(job.pk) == ImportState.FAILED

    job = get_import(job.pk)
    assert job.error_code == "artifact.refused"
    assert job.findings[0]["severity"] == "error"
    assert job.version is not None
    assert job.version.state == VersionState.FAILED


def test_what_can_never_work_is_refused_before_an_upload_is_used_up(ana: Actor, model: RegisteredModel) -> None:
    imported_version("digits", "1.0.0")
    upload = uploaded(ana, scaling_graph())
    graph = {"model.onnx": upload.pk}
    for new, error in (
        (NewImport("1.0.0", uploads=graph), AlreadyExistsError),
        (NewImport("one", uploads=graph), InvalidNameError),
        (NewImport("2.0.0", uploads={"../model.onnx": upload.pk, **graph}), ArtifactRefusedError),
        (NewImport("2.0.0", uploads={"weights.bin": upload.pk}), ArtifactRefusedError),
        (NewImport("2.0.0", uploads=graph, golden_samples=[{"inputs": 1}]), ArtifactRefusedError),
        (NewImport("2.0.0", server_path="/etc/passwd"), ImportPathError),
    ):
        with pytest.raises(error):
            request_import(ana, model=model, new=new)
    request_import(ana, model=model, new=NewImport("2.0.0", uploads=graph))


def test_an_upload_that_misses_bytes_is_refused(ana: Actor, model: RegisteredModel) -> None:
    upload = create_upload(ana, length=10)

    with pytest.raises(UploadStateError):
        request_import(ana, model=model, new=NewImport("1.0.0", uploads={"model.onnx": upload.pk}))

    assert not VersionImport.objects.exists()


def test_two_imports_of_a_version_do_not_run_at_once_and_the_second_keeps_its_upload(
    ana: Actor, model: RegisteredModel
) -> None:
    requested(ana, model)
    upload = uploaded(ana, scaling_graph(3.0))

    with pytest.raises(ImportStateError, match="under way"):
        request_import(ana, model=model, new=NewImport("1.0.0", uploads={"model.onnx": upload.pk}))

    request_import(ana, model=model, new=NewImport("1.0.1", uploads={"model.onnx": upload.pk}))


def test_a_folder_on_the_server_becomes_a_version(
    ana: Actor, model: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_settings(), "import_paths", [tmp_path])
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "model.onnx").write_bytes(scaling_graph())
    (tmp_path / "digits" / "labels.txt").write_text("zero\none\n")
    new = NewImport("1.0.0", server_path=str(tmp_path / "digits"))
    job = request_import(ana, model=model, new=new)

    assert run_import(job.pk) == ImportState.SUCCEEDED, get_import(job.pk).error

    version = ModelVersion.objects.get()
    assert [file.path for file in version.files.all()] == ["labels.txt", "model.onnx"]
    assert version.source == str(tmp_path / "digits")
    assert get_import(job.pk).bytes_total == len(scaling_graph()) + 9


def test_a_folder_that_is_no_longer_allowed_is_not_read(
    ana: Actor, model: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_settings(), "import_paths", [tmp_path])
    (tmp_path / "model.onnx").write_bytes(scaling_graph())
    job = request_import(ana, model=model, new=NewImport("1.0.0", server_path=str(tmp_path / "model.onnx")))
    monkeypatch.setattr(control_settings(), "import_paths", [])

    assert run_import(job.pk) == ImportState.FAILED
    assert get_import(job.pk).error_code == "import.path_refused"


def test_a_failed_import_can_be_retried(
    ana: Actor, model: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_settings(), "import_paths", [tmp_path])
    (tmp_path / "model.onnx").write_bytes(b"no graph yet")
    job = request_import(ana, model=model, new=NewImport("1.0.0", server_path=str(tmp_path / "model.onnx")))
    run_import(job.pk)
    with pytest.raises(ImportStateError):
        cancel_import(ana, job=job)
    (tmp_path / "model.onnx").write_bytes(scaling_graph())

    job = retry_import(ana, job=job)

    assert (job.state, job.error, job.findings) == (ImportState.QUEUED, "", [])
    assert run_import(job.pk) == ImportState.SUCCEEDED, get_import(job.pk).error
    with pytest.raises(ImportStateError):
        retry_import(ana, job=job)


def test_a_waiting_import_is_cancelled_at_once_and_can_be_retried(ana: Actor, model: RegisteredModel) -> None:
    job = requested(ana, model)

    assert cancel_import(ana, job=job).state == ImportState.CANCELLED
    assert run_import(job.pk) is None
    assert not ModelVersion.objects.exists()

    retry_import(ana, job=job)
    assert run_import(job.pk) == ImportState.SUCCEEDED


def test_a_running_import_stops_at_its_next_step(ana: Actor, model: RegisteredModel) -> None:
    job = requested(ana, model)
    VersionImport.objects.update(state=ImportState.RUNNING, worker="one", heartbeat_at=timezone.now())

    assert cancel_import(ana, job=job).cancel_requested
    with pytest.raises(CancelledError):
        Progress(job.pk, "one").say("going on")
    with pytest.raises(TakenOverError):
        Progress(job.pk, "two").say("going on")


def test_what_a_dead_worker_left_half_done_is_done_again(ana: Actor, model: RegisteredModel) -> None:
    job = requested(ana, model)
    half_done = ModelVersion.objects.create(model=model, semver="1.0.0", number=1, created_by=ana.name)
    RegisteredModel.objects.update(next_number=2)
    VersionImport.objects.update(
        state=ImportState.RUNNING, worker="dead", heartbeat_at=timezone.now(), version=half_done
    )
    assert run_import(job.pk) is None
    VersionImport.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=60))

    assert run_import(job.pk) == ImportState.SUCCEEDED

    assert [(version.number, version.state) for version in ModelVersion.objects.all()] == [(2, VersionState.VALIDATED)]


def test_an_import_whose_worker_died_after_its_last_step_succeeds(ana: Actor, model: RegisteredModel) -> None:
    job = requested(ana, model)
    run_import(job.pk)
    VersionImport.objects.update(
        state=ImportState.RUNNING, worker="dead", heartbeat_at=timezone.now() - timedelta(seconds=60)
    )

    assert run_import(job.pk) == ImportState.SUCCEEDED
    assert ModelVersion.objects.count() == 1


def test_an_import_that_nobody_took_up_is_handed_out_again(ana: Actor, model: RegisteredModel) -> None:
    requested(ana, model)
    assert hand_out_imports() == 0
    VersionImport.objects.update(handed_out_at=timezone.now() - timedelta(seconds=120))

    assert (hand_out_imports(), hand_out_imports()) == (1, 0)


def test_a_store_that_lost_a_file_fails_the_import_in_words(ana: Actor, model: RegisteredModel) -> None:
    job = requested(ana, model)
    with artifact_store().local(job.files["model.onnx"]["sha256"]) as path:
        path.unlink()

    assert run_import(job.pk) == ImportState.FAILED

    error = get_import(job.pk).error
    assert error.startswith("The import broke")
    assert str(path) not in error
