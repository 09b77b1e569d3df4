"""The demo: a model trained here in seconds on scikit-learn's handwritten digits, served in two versions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from django.db import close_old_connections

from controlplane.audit.domain import system_actor
from controlplane.fleet.domain import OPEN_STATES, PublicationState
from controlplane.fleet.models import Publication
from controlplane.fleet.selectors import get_pool
from controlplane.fleet.services import publish_version, retry_publication
from controlplane.quickstart.errors import DemoFailedError
from controlplane.registry.domain import VersionState
from controlplane.registry.importing import VersionDraft, import_version
from controlplane.registry.models import Alias, ModelVersion, RegisteredModel
from controlplane.registry.services import ModelFields, create_model, set_alias

SLUG = "digits"
ALIAS = "production"
FIRST = "1.0.0"
PUBLISH_TIMEOUT_S = 120.0
ACTOR = system_actor("demo")

Say = Callable[[str], None]


def seed_demo(say: Say) -> None:
    """Makes the demo where it is not there yet, one line of progress a step. May be run again after any failure.

    Raises:
        DemoFailedError: a version did not get published; the message is the publisher's reason.
    """
    model = _ensure_model(say)
    _ensure_versions(model, say)
    for version in model.versions.exclude(state=VersionState.FAILED).order_by("number"):
        _ensure_published(version, say)
    if not Alias.objects.filter(model=model, name=ALIAS).exists():
        set_alias(ACTOR, model=model, name=ALIAS, version=model.versions.get(semver=FIRST))
        say(f"alias {ALIAS} -> {FIRST}")


def _ensure_model(say: Say) -> RegisteredModel:
    model = RegisteredModel.objects.filter(slug=SLUG).first()
    if model is None:
        model = create_model(
            ACTOR,
            slug=SLUG,
            fields=ModelFields(
                title="Handwritten digits",
                description="Which digit is it? 8x8 pixels of grey, 0 to 16, in; ten probabilities out.",
                task="image-classification",
                framework="scikit-learn",
                tags=["demo"],
            ),
        )
        say(f"model {SLUG} registered")
    return model


def _ensure_versions(model: RegisteredModel, say: Say) -> None:
    from triton_models.digits.train import train

    with TemporaryDirectory() as folder:
        known = set(model.versions.exclude(state=VersionState.FAILED).values_list("semver", flat=True))
        if len(known) >= 2:
            return
        for trained in train(Path(folder)):
            card = trained.card
            if trained.version not in known:
                with trained.model.open("rb") as file:
                    draft = VersionDraft(
                        semver=trained.version,
                        files={"model.onnx": file},
                        golden_samples=card["golden"],
                        metrics=card["metrics"],
                        dataset_notes=card["dataset"]["notes"],
                        source=card["dataset"]["name"],
                    )
                    import_version(ACTOR, model=model, draft=draft)
                accuracy = card["metrics"]["test_accuracy"]
                say(f"version {trained.version} trained and registered: test accuracy {accuracy:.3f}")


def _ensure_published(version: ModelVersion, say: Say) -> None:
    if version.state == VersionState.PUBLISHED:
        return
    started = time.monotonic()
    latest = version.publications.order_by("-id").first()
    if latest is not None and latest.state not in (*OPEN_STATES, PublicationState.SUCCEEDED):
        publication = retry_publication(ACTOR, publication=latest)
    else:
        publication = publish_version(ACTOR, version=version, pool=get_pool())
    _wait(publication, started)
    say(f"version {version.semver} published in {time.monotonic() - started:.1f} s")


def _wait(publication: Publication, started: float) -> None:
    while True:
        publication.refresh_from_db()
        if publication.state == PublicationState.SUCCEEDED:
            return
        if publication.state not in OPEN_STATES:
            raise DemoFailedError(f"Publishing {publication.version} failed: {publication.error or publication.state}")
        if time.monotonic() - started > PUBLISH_TIMEOUT_S:
            raise DemoFailedError(
                f"Publishing {publication.version} is still {publication.state} after {PUBLISH_TIMEOUT_S:.0f} s; "
                "is the worker running?"
            )
        close_old_connections()
        time.sleep(0.1)
