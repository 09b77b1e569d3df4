"""What stands between a version and a server: signatures, approvals and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.env import control_settings
from controlplane.fleet.domain import PublicationState, PublicationStep
from controlplane.fleet.models import Pool, Publication, Server
from controlplane.fleet.publishing.steps import STEPS, StepContext
from controlplane.fleet.services import publish_version, retry_publication
from controlplane.fleet.triton import _free_bytes, free_memory_bytes
from controlplane.registry.domain import VersionState
from controlplane.registry.errors import ApprovalMissingError
from controlplane.registry.models import ModelVersion
from controlplane.registry.services import ModelFields, update_model
from controlplane.registry.signing import PUBLIC_KEY
from controlplane.secret_files import init_secrets
from tests.controlplane.fleet.conftest import carried_out, published, repository_names, unique_slug
from tests.support.models import ACTOR, imported_version
from tests.support.triton import TritonServer

pytestmark = pytest.mark.django_db


def staged(version: ModelVersion, pool: Pool) -> tuple[Publication, Path]:
    """A publication whose files lie beside the repository, signed."""
    publication = publish_version(ACTOR, version=version, pool=pool)
    context = StepContext(publication, ACTOR, lambda: None)
    STEPS[PublicationStep.STAGE](context)
    found = context.repository.find_stage(context.stage_id)
    assert found is not None
    return publication, found.path


def test_a_publication_carries_its_signature_and_leaves_the_version_signed(pool: Pool) -> None:
    publication = published(imported_version(unique_slug("signed")), pool)
    assert publication.signature["digest"] == publication.manifest["digest"]
    assert publication.version.signature["digest"] == publication.version.digest


@pytest.mark.parametrize("name", ["1/model.onnx", "config.pbtxt", "warmup/golden-0"])
def test_one_byte_changed_after_signing_is_caught_before_the_rename(pool: Pool, name: str) -> None:
    version = imported_version(unique_slug("flipped"))
    publication, folder = staged(version, pool)
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).unlink()  # a new file: the store shares the old one's bytes
    (folder / name).write_bytes(content)

    carried_out(publication)

    assert publication.state == PublicationState.FAILED
    assert "not what was signed" in publication.error
    assert name in publication.error
    assert version.triton_name not in repository_names(pool)
    retry_publication(ACTOR, publication=publication)
    assert carried_out(publication).state == PublicationState.SUCCEEDED


def test_a_file_added_after_signing_is_caught(pool: Pool) -> None:
    publication, folder = staged(imported_version(unique_slug("added")), pool)
    (folder / "1" / "model.py").write_text("import os")
    assert "model.py does not belong here" in carried_out(publication).error


def test_a_manifest_changed_in_the_database_is_caught(pool: Pool) -> None:
    publication, _ = staged(imported_version(unique_slug("forged")), pool)
    publication.manifest["files"][0]["sha256"] = "0" * 64
    publication.save(update_fields=["manifest"])
    assert "other bytes than were signed" in carried_out(publication).error


def test_another_registered_file_is_caught(pool: Pool) -> None:
    slug = unique_slug("swapped")
    version, other = imported_version(slug), imported_version(slug, "2.0.0", factor=9.0)
    publication, _ = staged(version, pool)
    version.files.update(artifact=other.files.get().artifact)
    carried_out(publication)
    assert publication.state == PublicationState.FAILED
    assert "other bytes than were signed" in publication.error


def test_a_signature_by_another_key_stops_the_publication(pool: Pool, tmp_path: Path) -> None:
    version = imported_version(unique_slug("stranger"))
    publication, _ = staged(version, pool)
    init_secrets(tmp_path)
    trusted = control_settings().secrets.path(PUBLIC_KEY)
    ours = trusted.read_bytes()
    try:
        trusted.write_bytes((tmp_path / PUBLIC_KEY).read_bytes())
        carried_out(publication)
    finally:
        trusted.write_bytes(ours)
    assert publication.state == PublicationState.FAILED
    assert "this control plane trusts" in publication.error
    assert version.triton_name not in repository_names(pool)


def test_bytes_that_nobody_signed_are_not_adopted(pool: Pool) -> None:
    version = imported_version(unique_slug("found"))
    folder = Path(pool.repository) / version.triton_name
    folder.mkdir()
    (folder / "config.pbtxt").write_text("")

    publication = published(version, pool)

    assert "no publication signed these bytes" in publication.error


def test_what_serves_already_can_be_published_again(pool: Pool) -> None:
    version = imported_version(unique_slug("again"))
    first, second = published(version, pool), published(version, pool)
    assert (second.state, second.signature) == (PublicationState.SUCCEEDED, first.signature)


def test_a_version_waits_for_its_approval(pool: Pool) -> None:
    version = imported_version(unique_slug("waits"))
    model = update_model(ACTOR, model=version.model, fields=ModelFields(requires_approval=True))
    version = ModelVersion.objects.get(pk=version.pk)
    with pytest.raises(ApprovalMissingError, match="needs 1 more approval by somebody other"):
        publish_version(ACTOR, version=version, pool=pool)
    assert model.requires_approval
    ModelVersion.objects.filter(pk=version.pk).update(carries_code=True)
    version.refresh_from_db()
    with pytest.raises(ApprovalMissingError, match="needs 2 more approvals"):
        publish_version(ACTOR, version=version, pool=pool)


def with_metrics(pool: Pool, triton: TritonServer) -> None:
    Server.objects.update(metrics_address=triton.metrics_url.removeprefix("http://").removesuffix("/metrics"))


def test_a_version_that_needs_more_memory_than_there_is_is_refused(pool: Pool, triton: TritonServer) -> None:
    with_metrics(pool, triton)
    assert (free_memory_bytes(Server.objects.get(), gpu=False) or 0) > 0
    version = imported_version(unique_slug("huge"))
    ModelVersion.objects.filter(pk=version.pk).update(memory_bytes=2**50)

    publication = published(version, pool)

    assert publication.state == PublicationState.FAILED
    assert "needs 1,125,899,906,842,624 bytes" in publication.error
    assert version.triton_name not in repository_names(pool)
    assert publication.version.state == VersionState.SIGNED


def test_memory_that_is_known_to_suffice_leaves_no_finding(pool: Pool, triton: TritonServer) -> None:
    with_metrics(pool, triton)
    publication = published(imported_version(unique_slug("small")), pool)
    assert (publication.state, publication.findings) == (PublicationState.SUCCEEDED, [])


def test_memory_that_is_not_known_leaves_a_warning(pool: Pool) -> None:
    publication = published(imported_version(unique_slug("blind")), pool)
    assert publication.state == PublicationState.SUCCEEDED
    assert [(each["code"], each["severity"]) for each in publication.findings] == [("memory.unknown", "warning")]


def test_the_fullest_gpu_counts() -> None:
    metrics = "".join(
        f'nv_gpu_memory_{kind}_bytes{{gpu_uuid="{gpu}"}} {value}\n'
        for gpu, total, used in (("a", 100, 10), ("b", 100, 70))
        for kind, value in (("total", total), ("used", used))
    )
    assert _free_bytes(metrics, "nv_gpu_memory") == 30
    assert _free_bytes(metrics, "nv_cpu_memory") is None
