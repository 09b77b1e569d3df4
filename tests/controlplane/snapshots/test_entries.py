"""What of a model a gateway is told."""

import pytest

from controlplane.registry.domain import VersionState
from controlplane.registry.models import RegisteredModel
from controlplane.snapshots.entries import build_entries
from controlplane.wire.snapshot import ModelEntry, TensorSpec, decode_card, encode_value
from tests.support.models import imported_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def model() -> RegisteredModel:
    version = imported_version("scale")
    version.state = VersionState.PUBLISHED
    version.save(update_fields=["state"])
    return version.model


def _entry() -> ModelEntry:
    entry = build_entries("model", ["scale"])["scale"]
    assert isinstance(entry, ModelEntry)
    return entry


def test_a_version_tells_its_tensors(model: RegisteredModel) -> None:
    version = _entry().versions[1]

    assert version.inputs == (TensorSpec("x", "FP32", (-1, 4)),)
    assert version.outputs == (TensorSpec("y", "FP32", (-1, 4)),)
    assert version.batched


def test_a_card_tells_what_the_owner_wrote(model: RegisteredModel) -> None:
    model.framework = "pytorch"
    model.parameters = {"temperature": {"type": "float", "min": 0.0, "max": 2.0}}
    model.save(update_fields=["framework", "parameters"])

    card = decode_card(_entry().card)

    assert (card.framework, card.parameters) == ("pytorch", model.parameters)
    assert card.created_at.startswith(str(model.created_at.year))


def test_the_same_model_gives_the_same_bytes(model: RegisteredModel) -> None:
    assert encode_value(_entry()) == encode_value(_entry())
