"""`tritonctl version show|approve|deprecate|retire|restore`, `alias`."""

from __future__ import annotations

from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.web import Web


def test_a_version_is_shown(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()

    assert tritonctl("version", "show", f"{name}@1.0.0", "--json").json["model"] == name
    text = tritonctl("version", "show", f"{name}@1.0.0").stdout
    assert f"{name}@1.0.0, number 1, validated" in text
    assert "Signed    not yet" in text
    assert "It lies on no server." in text


def test_nobody_approves_what_they_made(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()
    error = tritonctl("version", "approve", f"{name}@1.0.0", "--json").error
    assert error["code"] == "approval.own_version"


def test_a_version_is_deprecated_and_that_is_taken_back(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()
    version = tritonctl("version", "deprecate", f"{name}@1.0.0", "--message", "use 2.0.0", "--json").json
    assert (version["deprecated"], version["deprecation_message"]) == (True, "use 2.0.0")
    assert "Deprecated. use 2.0.0" in tritonctl("version", "show", f"{name}@1.0.0").stdout
    assert "not deprecated any more" in tritonctl("version", "deprecate", f"{name}@1.0.0", "--undo").stdout


def test_what_is_not_published_is_neither_retired_nor_restored_nor_aliased(tritonctl: Tritonctl, web: Web) -> None:
    name = web.add_version()
    for what in ("retire", "restore"):
        error = tritonctl("version", what, f"{name}@1.0.0", "--wait", "--json").error
        assert error["code"] == "publication.not_possible"
    error = tritonctl("alias", "set", name, "production", "1.0.0", "--json").error
    assert error["code"] == "version.invalid_transition"
    assert tritonctl("alias", "list", name, "--json").json == []
