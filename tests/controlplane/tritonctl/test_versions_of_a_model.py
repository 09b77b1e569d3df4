"""`tritonctl model import`, `version show|approve|deprecate|retire|restore`, `alias`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.models import scaling_graph, scaling_sample
from tests.support.web import Web


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "exported.onnx"
    path.write_bytes(scaling_graph())
    return path


def new_model(web: Web, name: str) -> str:
    assert web.call("POST", "/api/models", json={"slug": name}).is_success
    return name


def test_a_file_is_imported_with_its_samples_and_metrics(
    tritonctl: Tritonctl, web: Web, graph: Path, tmp_path: Path
) -> None:
    name = new_model(web, "imported")
    golden, metrics = tmp_path / "golden.json", tmp_path / "metrics.json"
    golden.write_text(json.dumps([scaling_sample()]))
    metrics.write_text('{"accuracy": 0.97}')
    files = ["--golden", str(golden), "--metrics", str(metrics), "--source", "run 17"]

    version = tritonctl("model", "import", str(graph), "--model", name, "--version", "1.0.0", *files, "--json").json

    assert (version["state"], version["number"], version["source"]) == ("validated", 1, "run 17")
    assert version["metrics"] == {"accuracy": 0.97}
    again = tritonctl("model", "import", str(graph), "--model", name, "--version", "1.0.0", "--json").error
    assert again["code"] == "version.exists"
    text = tritonctl("model", "import", str(graph), "--model", name, "--version", "1.1.0").stdout
    assert f"{name}@1.1.0 is validated, number 2." in text


def test_a_folder_is_imported_and_must_have_its_graph(tritonctl: Tritonctl, web: Web, tmp_path: Path) -> None:
    name = new_model(web, "foldered")
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "labels.txt").write_text("one\ntwo\n")
    missing = tritonctl("model", "import", str(folder), "--model", name, "--version", "1.0.0", "--json").error
    assert missing["code"] == "artifact.no_model"
    (folder / "model.onnx").write_bytes(scaling_graph())

    version = tritonctl("model", "import", str(folder), "--model", name, "--version", "1.0.0", "--json").json

    assert sorted(file["path"] for file in version["files"]) == ["labels.txt", "model.onnx"]


def test_what_cannot_be_served_is_said_with_its_findings(tritonctl: Tritonctl, web: Web, tmp_path: Path) -> None:
    name = new_model(web, "garbage")
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"this is no graph")
    outcome = tritonctl("model", "import", str(garbage), "--model", name, "--version", "1.0.0")
    assert outcome.status == 1
    assert "cannot be served" in outcome.stderr
    assert "findings: model.onnx" in outcome.stderr


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
