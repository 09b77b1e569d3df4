"""Several people, or several processes, at the same time."""

from __future__ import annotations

import itertools

import pytest
from django.db import transaction

from controlplane.registry.errors import AlreadyExistsError, RevisionConflictError
from controlplane.registry.models import Alias, RegisteredModel
from controlplane.registry.services import allocate_number, create_model, set_alias
from tests.support.concurrently import concurrently
from tests.support.models import ACTOR, declare_published, imported_version, registered_model

pytestmark = pytest.mark.django_db(transaction=True)


def test_numbers_allocated_at_the_same_time_are_all_different() -> None:
    model = registered_model("busy")

    def allocate(_: int) -> int:
        with transaction.atomic():
            return allocate_number(model)

    assert sorted(concurrently(allocate)) == list(range(1, 9))


def test_of_many_who_take_a_slug_at_the_same_time_one_gets_it() -> None:
    def take(_: int) -> bool:
        try:
            create_model(ACTOR, slug="wanted")
        except AlreadyExistsError:
            return False
        return True

    assert sum(concurrently(take)) == 1
    assert RegisteredModel.objects.count() == 1


def test_an_alias_moved_by_many_at_the_same_time_ends_where_its_history_says() -> None:
    versions = [imported_version("busy", f"{major}.0.0") for major in range(1, 9)]
    for version in versions:
        declare_published(version)

    def point(index: int) -> bool:
        try:
            set_alias(ACTOR, model=versions[index].model, name="production", version=versions[index])
        except RevisionConflictError:
            return False
        return True

    moved = concurrently(point)
    alias = Alias.objects.get()
    moves = list(alias.moves.order_by("id"))
    assert sum(moved) == len(moves) >= 1
    assert moves[-1].to_version == alias.version
    for earlier, later in itertools.pairwise(moves):
        assert later.from_version == earlier.to_version
