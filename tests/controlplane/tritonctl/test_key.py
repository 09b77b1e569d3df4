from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controlplane.wire.keys import parse_key
from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.web import Web


def test_a_key_is_made_and_its_secret_printed_once(tritonctl: Tritonctl, web: Web) -> None:
    key = tritonctl("key", "create", "ci", "--json").json

    parsed = parse_key(key["secret"])
    assert parsed is not None
    assert parsed.key_id == key["id"]
    stored = web.call("GET", f"/api/keys/{key['id']}").json()
    assert "secret" not in stored
    assert (stored["label"], stored["project"], stored["models"]) == ("ci", "default", ["*"])


def test_a_key_is_as_narrow_as_asked(tritonctl: Tritonctl) -> None:
    options = ["--project", "default", "--org", "default", "--plan", "local", "--models", "digits,ranker-*"]

    key = tritonctl("key", "create", "shop", *options, "--models", "other", "--expires", "30d", "--json").json

    assert key["models"] == ["digits", "ranker-*", "other"]
    assert (key["organisation"], key["project"], key["plan"]) == ("default", "default", "local")
    left = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


def test_a_key_ends_at_a_date(tritonctl: Tritonctl) -> None:
    key = tritonctl("key", "create", "shop", "--expires", "2099-01-31", "--json").json

    assert datetime.fromisoformat(key["expires_at"]) == datetime(2099, 1, 31, tzinfo=UTC)


def test_a_key_is_printed_for_people(tritonctl: Tritonctl) -> None:
    outcome = tritonctl("key", "create", "a [b] of mine")

    assert outcome.status == 0
    assert "(a [b] of mine)" in outcome.stdout
    assert "Secret  tgk_live_" in outcome.stdout
    assert "cannot be shown again" in outcome.stdout


@pytest.mark.parametrize("expires", ["soon", "30", "2030-13-01"])
def test_an_expiry_that_is_none_is_a_wrong_call(tritonctl: Tritonctl, expires: str) -> None:
    outcome = tritonctl("key", "create", "ci", "--expires", expires)

    assert (outcome.status, outcome.stdout) == (2, "")
    assert expires in outcome.stderr


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--project", "nothing"], "project.not_found"),
        (["--org", "nothing"], "project.not_found"),
        (["--models", "not a pattern"], "key.invalid_request"),
        (["--expires", "2020-01-01"], "key.invalid_request"),
    ],
)
def test_a_key_that_cannot_be_issued_says_why(tritonctl: Tritonctl, options: list[str], code: str) -> None:
    assert tritonctl("key", "create", "ci", *options, "--json").error["code"] == code


def test_a_field_that_is_refused_is_named(tritonctl: Tritonctl) -> None:
    outcome = tritonctl("key", "create", "  ")

    assert outcome.status == 1
    assert "label: This field may not be blank." in outcome.stderr
