"""What people and models say is text on every page, never markup."""

from __future__ import annotations

import pytest
from django.test import Client

from controlplane.fleet.domain import PlacementState, PublicationState, PublicationStep, StepState
from controlplane.fleet.models import Placement, PublicationStepRun
from controlplane.fleet.services import publish_version
from controlplane.registry.models import GoldenSample, ModelVersion, RegisteredModel
from controlplane.registry.services import ModelFields, update_model
from tests.controlplane.ui.conftest import BOOT, Scene, page

ATTACK = "<script>alert('digits')</script>"
BREAKOUT = '"><img src=x onerror=alert(1)>{{ 7|add:7 }}'


@pytest.fixture
def hostile(scene: Scene) -> Scene:
    fields = ModelFields(
        title=ATTACK, owner=ATTACK, description=ATTACK, documentation=BREAKOUT, task=ATTACK, tags=[ATTACK, BREAKOUT]
    )
    update_model(BOOT, model=scene.model, fields=fields)
    finding = {"code": ATTACK, "path": ATTACK, "message": ATTACK, "fix": BREAKOUT, "severity": ATTACK}
    tensor = {"name": ATTACK, "datatype": BREAKOUT, "shape": [ATTACK]}
    ModelVersion.objects.filter(pk=scene.validated.pk).update(
        failure=ATTACK,
        findings=[finding],
        config=ATTACK,
        inputs=[tensor],
        outputs=[tensor],
        metrics={ATTACK: BREAKOUT},
        dataset_notes=ATTACK,
        source=ATTACK,
        deprecation_message=ATTACK,
        created_by=ATTACK,
    )
    GoldenSample.objects.create(version=scene.validated, name=ATTACK, inputs=[tensor], outputs=[tensor])
    Placement.objects.create(
        server=scene.server, version=scene.validated, state=PlacementState.FAILED, reason=ATTACK, proven=True
    )
    publication = publish_version(BOOT, version=scene.validated, pool=scene.pool)
    publication.state, publication.error, publication.attempt = PublicationState.FAILED, ATTACK, 1
    publication.manifest = {ATTACK: BREAKOUT}
    publication.save()
    PublicationStepRun.objects.create(
        publication=publication,
        step=PublicationStep.LOAD,
        attempt=1,
        state=StepState.FAILED,
        error=ATTACK,
        detail=BREAKOUT,
    )
    return scene


def test_hostile_text_is_escaped_on_every_page(owner: Client, hostile: Scene) -> None:
    publication = hostile.validated.publications.get()
    for address in (
        "/admin/",
        page("registry_registeredmodel"),
        page("registry_registeredmodel", hostile.model.pk),
        page("registry_registeredmodel", hostile.model.pk, "edit"),
        page("registry_modelversion"),
        page("registry_modelversion", hostile.validated.pk),
        page("fleet_publication"),
        page("fleet_publication", publication.pk),
        page("fleet_server", hostile.server.pk),
        page("audit_auditevent"),
        page("audit_auditevent") + "?q=digits",
        page("audit_auditevent", 2),
        f"/admin/live/versions/{hostile.validated.pk}/",
        f"/admin/live/publications/{publication.pk}/",
        "/admin/live/overview/",
    ):
        response = owner.get(address)
        text = "".join(response.json()["fragments"].values()) if "/live/" in address else response.content.decode()
        assert ATTACK not in text, address
        assert "<img src=x" not in text, address
        assert "14" not in text.partition("onerror=alert(1)")[2][:40], address


def test_a_tag_with_markup_still_filters(owner: Client, hostile: Scene) -> None:
    model = RegisteredModel.objects.get()
    response = owner.get(page("registry_registeredmodel"), {"tag": ATTACK})
    assert page("registry_registeredmodel", model.pk) in response.content.decode()
