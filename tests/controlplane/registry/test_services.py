"""Models, versions and aliases."""

from __future__ import annotations

import io

import pytest

from controlplane.accounts.domain import Role, permissions_of
from controlplane.audit.domain import Actor
from controlplane.audit.errors import PermissionMissingError
from controlplane.audit.models import AuditEvent, PendingChange
from controlplane.registry.domain import TRANSITIONS, VersionState, may_move
from controlplane.registry.errors import (
    AlreadyExistsError,
    ArtifactRefusedError,
    InvalidNameError,
    InvalidTransitionError,
    ModelNotFoundError,
    RevisionConflictError,
    VersionNotFoundError,
)
from controlplane.registry.importing import VersionDraft, import_version
from controlplane.registry.models import ModelVersion, RegisteredModel
from controlplane.registry.selectors import get_model, get_version
from controlplane.registry.services import ModelFields, create_model, move_version, set_alias, update_model
from tests.support.models import (
    ACTOR,
    declare_published,
    imported_version,
    registered_model,
    scaling_graph,
    scaling_sample,
)

pytestmark = pytest.mark.django_db


def actor(role: Role) -> Actor:
    return Actor(f"user:{role}", permissions_of(role))


def published(version: ModelVersion) -> ModelVersion:
    declare_published(version)
    return version


def test_a_model_is_registered_audited_and_announced() -> None:
    model = create_model(actor(Role.DEVELOPER), slug="digits", fields=ModelFields(title="Digits", tags=["demo"]))
    assert (model.title, model.tags) == ("Digits", ["demo"])
    event = AuditEvent.objects.get()
    assert (event.actor, event.action, event.object_label) == ("user:developer", "registry.create_model", "digits")
    assert PendingChange.objects.filter(kind="model", name="digits").exists()


@pytest.mark.parametrize("slug", ["Digits", "digits.v3", "a/b", ""])
def test_a_bad_slug_is_refused_with_the_rule(slug: str) -> None:
    with pytest.raises(InvalidNameError, match="lower-case letters"):
        create_model(ACTOR, slug=slug)


def test_a_taken_slug_is_refused() -> None:
    registered_model("digits")
    with pytest.raises(AlreadyExistsError):
        registered_model("digits")


def test_a_viewer_may_not_register() -> None:
    with pytest.raises(PermissionMissingError, match="manage_models"):
        create_model(actor(Role.VIEWER), slug="digits")
    assert not RegisteredModel.objects.exists()


def test_of_two_people_who_change_a_model_the_second_is_told() -> None:
    model = registered_model("digits")
    stale = get_model("digits")
    update_model(ACTOR, model=model, fields=ModelFields(title="New"))
    with pytest.raises(RevisionConflictError):
        update_model(ACTOR, model=stale, fields=ModelFields(title="Other"))
    assert get_model("digits").title == "New"


def test_an_imported_version_is_validated_and_knows_its_tensors() -> None:
    version = imported_version("scale")
    assert (version.number, version.state) == (1, VersionState.VALIDATED)
    assert [(tensor["name"], tensor["shape"]) for tensor in version.inputs] == [("x", [-1, 4])]
    assert 'name: "scale.v1"' in version.config
    assert "dynamic_batching" in version.config
    assert version.golden_samples.count() == 1
    assert len(version.digest) == 64


def test_numbers_count_up_per_model_and_semvers_are_used_once() -> None:
    assert [imported_version("scale", semver).number for semver in ("1.0.0", "2.0.0")] == [1, 2]
    assert imported_version("other").number == 1
    with pytest.raises(AlreadyExistsError, match="versions never change"):
        imported_version("scale", "1.0.0")


@pytest.mark.parametrize(
    ("draft", "error"),
    [
        (VersionDraft("one", {"model.onnx": io.BytesIO(b"")}), InvalidNameError),
        (VersionDraft("1.0.0", {}), ArtifactRefusedError),
        (VersionDraft("1.0.0", {"../model.onnx": io.BytesIO(b"")}), ArtifactRefusedError),
        (VersionDraft("1.0.0", {"model.onnx": io.BytesIO(b""), "/etc/x": io.BytesIO(b"")}), ArtifactRefusedError),
        (VersionDraft("1.0.0", {"model.onnx": io.BytesIO(b"")}, golden_samples=[{"inputs": []}]), ArtifactRefusedError),
    ],
)
def test_a_draft_that_can_never_work_is_refused_before_anything_is_stored(
    draft: VersionDraft, error: type[Exception]
) -> None:
    model = registered_model("scale")
    with pytest.raises(error):
        import_version(ACTOR, model=model, draft=draft)
    assert not ModelVersion.objects.exists()


def test_a_golden_sample_for_other_inputs_is_a_finding() -> None:
    model = registered_model("scale")
    sample = scaling_sample()
    sample["inputs"][0]["name"] = "wrong"
    draft = VersionDraft("1.0.0", {"model.onnx": io.BytesIO(scaling_graph())}, golden_samples=[sample])
    with pytest.raises(ArtifactRefusedError) as refusal:
        import_version(ACTOR, model=model, draft=draft)
    assert [finding["code"] for finding in refusal.value.details["findings"]][-1] == "golden.inputs"


def test_the_same_bytes_are_stored_once() -> None:
    first, second = imported_version("scale", "1.0.0"), imported_version("scale", "1.0.1")
    assert first.files.get().artifact == second.files.get().artifact


def test_a_version_is_found_by_semver_number_and_v_number() -> None:
    version = imported_version("scale")
    assert {get_version("scale", text) for text in ("1.0.0", "1", "v1")} == {version}
    for missing in ("2", "v0", "1.0", "9" * 30):
        with pytest.raises(VersionNotFoundError):
            get_version("scale", missing)
    with pytest.raises(ModelNotFoundError):
        get_version("other", "1")


def test_an_alias_moves_and_remembers_where_it_was() -> None:
    first, second = published(imported_version("scale", "1.0.0")), published(imported_version("scale", "2.0.0"))
    operator = actor(Role.OPERATOR)
    set_alias(operator, model=first.model, name="production", version=first)
    alias = set_alias(operator, model=first.model, name="production", version=second)
    assert alias.version == second
    moves = [(move.from_version, move.to_version, move.moved_by) for move in alias.moves.all()]
    assert moves == [(first, second, "user:operator"), (None, first, "user:operator")]


def test_an_alias_cannot_point_at_what_is_not_served() -> None:
    version = imported_version("scale")
    with pytest.raises(InvalidTransitionError, match="publish it before"):
        set_alias(ACTOR, model=version.model, name="production", version=version)


def test_an_alias_cannot_point_at_another_models_version() -> None:
    version = published(imported_version("scale"))
    with pytest.raises(InvalidNameError, match="does not belong"):
        set_alias(ACTOR, model=registered_model("other"), name="production", version=version)


@pytest.mark.parametrize("name", ["preview", "v3", "Production", ""])
def test_reserved_and_malformed_aliases_are_refused(name: str) -> None:
    version = published(imported_version("scale"))
    with pytest.raises(InvalidNameError, match="is no alias"):
        set_alias(ACTOR, model=version.model, name=name, version=version)


def test_a_developer_may_not_move_an_alias() -> None:
    version = published(imported_version("scale"))
    with pytest.raises(PermissionMissingError, match="publish"):
        set_alias(actor(Role.DEVELOPER), model=version.model, name="production", version=version)


@pytest.mark.parametrize("state", VersionState)
def test_every_state_has_rules_and_nothing_returns_to_draft(state: VersionState) -> None:
    assert VersionState.DRAFT not in TRANSITIONS[state]
    assert not may_move(state, state)


def test_of_two_moves_of_a_version_the_second_is_refused() -> None:
    version = imported_version("scale")
    stale = get_version("scale", "1.0.0")
    move_version(version, VersionState.SIGNED)
    with pytest.raises(InvalidTransitionError, match="changed meanwhile"):
        move_version(stale, VersionState.SIGNED)
