"""The same publication, handed to several workers at the same time."""

from __future__ import annotations

import pytest

from controlplane.fleet.domain import PublicationState
from controlplane.fleet.models import Pool, Publication
from controlplane.fleet.publishing import run_publication
from controlplane.fleet.services import publish_version
from tests.controlplane.fleet.conftest import unique_slug
from tests.support.concurrently import concurrently
from tests.support.models import ACTOR, imported_version

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_worker_carries_it_out_and_the_others_leave_it_alone(pool: Pool) -> None:
    publication = publish_version(ACTOR, version=imported_version(unique_slug("once")), pool=pool)
    outcomes = concurrently(lambda _: run_publication(publication.pk), threads=4)
    assert sorted(outcomes, key=str) == [None, None, None, PublicationState.SUCCEEDED]
    publication.refresh_from_db()
    assert publication.attempt == 1


def test_asked_for_many_times_at_once_there_is_one_publication(pool: Pool) -> None:
    version = imported_version(unique_slug("asked"))
    asked = concurrently(lambda _: publish_version(ACTOR, version=version, pool=pool).pk, threads=4)
    assert len(set(asked)) == 1
    assert Publication.objects.count() == 1
