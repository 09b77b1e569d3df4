import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_repository_tools import cli
from model_repository_tools.config import parse_config
from tests.model_repository_tools.graphs import save_double


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return save_double(tmp_path / "source" / "model.onnx")


class Shell:
    """Runs the console script in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["model-repository", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = self._capsys.readouterr()
        status = caught.value.code
        return (status if isinstance(status, int) else 0), captured.out, captured.err

    def json(self, *arguments: object) -> tuple[int, Any]:
        status, out, _ = self(*arguments, "--json")
        return status, json.loads(out)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def test_a_sound_model_is_shown(shell: Shell, model: Path) -> None:
    status, out, _ = shell("inspect", model.parent)
    assert status == 0
    assert all(text in out for text in ("FP32", "[-1, 4]", "Add x 1", "nothing keeps it from being served"))
    status, report = shell.json("inspect", model)
    assert (status, report["is_servable"], report["inputs"][0]["name"]) == (0, True, "x")


def test_a_broken_model_is_explained_and_fails_the_call(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"[red]no model")
    for command in (["inspect"], ["config", "--name", "m", "--version", 1]):
        status, out, _ = shell(command[0], tmp_path / "m.onnx", *command[1:])
        assert status == 1
        assert "onnx.not_a_model" in out
        status, report = shell.json(command[0], tmp_path / "m.onnx", *command[1:])
        assert (status, report["findings"][0]["code"]) == (1, "onnx.not_a_model")


def test_a_configuration_is_written_for_the_version(shell: Shell, model: Path) -> None:
    options = ("--name", "double", "--version", 3, "--kind", "kind_gpu", "--max-batch-size", 8)
    status, out, _ = shell("config", model, *options)
    parsed = parse_config(out, triton_name="double.v3", version_number=3)
    assert (status, parsed.findings) == (0, ())
    assert parsed.message is not None
    assert parsed.message.max_batch_size == 8
    assert shell.json("config", model, *options)[1]["config"] == out


def test_a_model_is_published_once_and_never_replaced(shell: Shell, model: Path, tmp_path: Path) -> None:
    options = ("--name", "double", "--version", 3, "--repository", tmp_path / "models")
    status, out, _ = shell("publish", model, *options)
    assert (status, "double.v3 is in the repository" in out) == (0, True)
    status, report = shell.json("publish", model.parent, *options)
    assert (status, report["name"]) == (0, "double.v3")
    save_double(model, ["batch", 5])
    status, report = shell.json("publish", model, *options)
    assert (status, report["error"]["code"]) == (2, "repository.conflict")
    status, _, err = shell("publish", model, *options)
    assert (status, "repository.conflict" in err) == (2, True)
    assert [path.name for path in (tmp_path / "models.staging").iterdir()] == [".trash"]


def test_a_folder_is_verified_against_its_manifest(shell: Shell, model: Path, tmp_path: Path) -> None:
    status, out, _ = shell("verify", model.parent, "--json")
    (tmp_path / "manifest.json").write_text(out)
    assert (status, "model.onnx" in shell("verify", model.parent)[1]) == (0, True)
    assert shell("verify", model.parent, "--manifest", tmp_path / "manifest.json")[0] == 0
    model.write_bytes(b"changed")
    status, report = shell.json("verify", model.parent, "--manifest", tmp_path / "manifest.json")
    assert (status, report["findings"][0]["code"]) == (1, "manifest.changed")
    (tmp_path / "manifest.json").write_text("{}")
    assert shell("verify", model.parent, "--manifest", tmp_path / "manifest.json")[0] == 2


def test_a_wrong_call_is_explained(shell: Shell, model: Path) -> None:
    assert shell("inspect", "/no/such/file")[0] == 2
    assert shell("config", model, "--name", "a/b", "--version", 1)[0] == 2
    assert shell("config", model, "--name", "a", "--version", 0)[0] == 2


def test_the_library_needs_no_django() -> None:
    code = "import sys, model_repository_tools.cli; sys.exit('django' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
