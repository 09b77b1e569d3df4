"""Names."""

from __future__ import annotations

import pytest

from controlplane.wire.names import ALIAS, SEMVER, SLUG, triton_name


@pytest.mark.parametrize("slug", ["digits", "0", "a.b_c-d", "v1", "model.v", "x.v1a", "a" * 100])
def test_slugs(slug: str) -> None:
    assert SLUG.fullmatch(slug)


@pytest.mark.parametrize("slug", ["", "Digits", "-a", ".a", "a/b", "a@b", "a b", "digits.v3", "a" * 101, "a\n"])
def test_no_slugs(slug: str) -> None:
    assert not SLUG.fullmatch(slug)


@pytest.mark.parametrize("alias", ["production", "champion", "v", "v1a", "blue-green_2"])
def test_aliases(alias: str) -> None:
    assert ALIAS.fullmatch(alias)


@pytest.mark.parametrize("alias", ["", "preview", "v1", "v12", "1st", "Prod", "a.b", "a@b", "x" * 51])
def test_no_aliases(alias: str) -> None:
    assert not ALIAS.fullmatch(alias)


@pytest.mark.parametrize("semver", ["1.0.0", "0.0.1-rc.1", "1.2.3+build.5", "10.20.30-alpha-1.b"])
def test_semantic_versions(semver: str) -> None:
    assert SEMVER.fullmatch(semver)


@pytest.mark.parametrize("semver", ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0 ", "1.0.0.0"])
def test_no_semantic_versions(semver: str) -> None:
    assert not SEMVER.fullmatch(semver)


def test_a_version_has_a_name_of_its_own_in_triton() -> None:
    assert triton_name("digits", 3) == "digits.v3"
    assert not SLUG.fullmatch(triton_name("digits", 3)), "so no public model can shadow it"
