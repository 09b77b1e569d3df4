import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_repository_tools import cli
from model_repository_tools.config import parse_config
from model_repository_tools.signing import SigningKey, TrustedKey, TrustStore
from tests.model_repository_tools.graphs import save_double
from tests.model_repository_tools.inspection.folders import PLAN, PYTHON, onnx_version, version
from tests.model_repository_tools.signing.certificates import Authority
from tests.model_repository_tools.unpacking.test_unpack import FILES, save_zip


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


def test_a_folder_is_shown_by_its_kind(shell: Shell, tmp_path: Path) -> None:
    folders = {
        "onnx": onnx_version(tmp_path / "o"),
        "tensorrt": version(tmp_path / "t", {"model.plan": PLAN}),
        "python": version(tmp_path / "p", {"model.py": PYTHON}),
    }
    for kind, folder in folders.items():
        status, report = shell.json("inspect", folder)
        assert (status, report["kind"]) == (int(kind == "python"), kind)
        assert f"{kind} model" in shell("inspect", folder)[1]


def test_a_version_is_validated_for_a_pool(shell: Shell, tmp_path: Path) -> None:
    folder = onnx_version(tmp_path / "v")
    assert shell("validate", folder)[0] == 0
    assert "nothing speaks against publishing" in shell("validate", folder, "--gpu")[1]
    io = b'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }'
    plan = version(tmp_path / "t", {"model.plan": PLAN, "config.pbtxt": b'backend: "tensorrt"' + io})
    options = ("--tensorrt", "10.3.0", "--capability", "8.6", "--pool-tensorrt", "10.3.0", "--pool-capability", "8.6")
    assert shell.json("validate", plan, *options)[1]["is_publishable"]
    status, report = shell.json("validate", plan, *options[:-1], "9.0")
    assert (status, [f["code"] for f in report["findings"]][-1]) == (1, "pool.compute_capability")


def test_code_needs_somebody_who_answers_for_it(shell: Shell, tmp_path: Path) -> None:
    io = b'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }'
    folder = version(tmp_path / "p", {"model.py": PYTHON, "config.pbtxt": b'backend: "python"' + io})
    options = ("--name", "code", "--version", 1, "--repository", tmp_path / "models")
    assert shell("publish", folder, *options)[0] == 1
    assert not (tmp_path / "models" / "code.v1").exists()
    assert shell("publish", folder, *options, "--allow-code")[0] == 0
    assert (tmp_path / "models/code.v1/1/model.py").read_bytes() == PYTHON
    assert not (tmp_path / "models/code.v1/1/config.pbtxt").exists()


def test_options_are_a_piece_of_a_configuration(shell: Shell, model: Path, tmp_path: Path) -> None:
    (tmp_path / "o.pbtxt").write_text("dynamic_batching { preferred_batch_size: 4 } response_cache { enable: true }")
    status, out, _ = shell("config", model, "--name", "m", "--version", 1, "--options", tmp_path / "o.pbtxt")
    message = parse_config(out).message
    assert status == 0
    assert message is not None
    assert list(message.dynamic_batching.preferred_batch_size) == [4]
    assert message.response_cache.enable
    (tmp_path / "o.pbtxt").write_text("dynamic_batching { preferred_batch_size: 64 }")
    options = ("--name", "m", "--version", 1, "--options", tmp_path / "o.pbtxt")
    status, report = shell.json("config", model, *options)
    assert (status, report["findings"][0]["code"]) == (1, "config.preferred_batch_size")


def test_an_archive_is_unpacked_or_refused(shell: Shell, tmp_path: Path) -> None:
    status, report = shell.json("unpack", save_zip(tmp_path / "a.zip", FILES), tmp_path / "v")
    assert (status, report["form"], len(report["files"])) == (0, "zip", len(FILES))
    status, out, _ = shell("unpack", save_zip(tmp_path / "b.zip", {"../x": b""}), tmp_path / "w")
    assert (status, "path.traversal" in out, (tmp_path / "w").exists()) == (1, True, False)
    assert shell("unpack", tmp_path / "a.zip", tmp_path / "v")[0] == 2
    assert shell("unpack", tmp_path / "a.zip", tmp_path / "x", "--max-files", 1)[0] == 1


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    key = SigningKey.generate()
    (tmp_path / "key.pem").write_bytes(key.private_pem)
    (tmp_path / "key.pub").write_bytes(key.public_pem)
    return key


def test_a_folder_is_signed_and_verified(shell: Shell, model: Path, tmp_path: Path, key: SigningKey) -> None:
    status, report = shell.json("sign", model.parent, "--key", tmp_path / "key.pem")
    assert (status, report["signature"]) == (0, str(tmp_path / "source.sig"))
    status, out, _ = shell("verify", model.parent, "--key", tmp_path / "key.pub")
    assert (status, "signed by key" in out) == (0, True)
    TrustStore.of_keys(TrustedKey("release", key.public_pem.decode())).save(tmp_path / "trust.json")
    assert shell.json("verify", model.parent, "--trust", tmp_path / "trust.json")[1]["signer"] == "release"
    model.write_bytes(model.read_bytes() + b"\0")
    status, report = shell.json("verify", model.parent, "--key", tmp_path / "key.pub")
    assert (status, report["findings"][0]["code"]) == (1, "signature.file_changed")


def test_a_certificate_signs_and_its_authority_is_trusted(
    shell: Shell, model: Path, tmp_path: Path, key: SigningKey
) -> None:
    authority = Authority.create()
    (tmp_path / "cert.pem").write_bytes(authority.certify(key).certificate_pem)
    (tmp_path / "root.pem").write_text(authority.pem)
    options = ("--key", tmp_path / "key.pem", "--certificate", tmp_path / "cert.pem")
    assert shell("sign", model.parent, *options)[0] == 0
    assert shell("verify", model.parent, "--authority", tmp_path / "root.pem")[0] == 0
    assert shell("verify", model.parent, "--key", tmp_path / "key.pub")[0] == 1


def test_a_key_that_is_none_is_a_wrong_call_and_never_shown(shell: Shell, model: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("s3cret")
    status, _, err = shell("sign", model.parent, "--key", tmp_path / "key.pem")
    assert (status, "key.invalid" in err, "s3cret" in err) == (2, True, False)


def test_publishing_can_demand_a_signature(shell: Shell, model: Path, tmp_path: Path, key: SigningKey) -> None:
    TrustStore.of_keys(TrustedKey("release", key.public_pem.decode())).save(tmp_path / "trust.json")
    options = ("--name", "m", "--version", 1, "--repository", tmp_path / "models", "--trust", tmp_path / "trust.json")
    status, report = shell.json("publish", model.parent, *options)
    assert (status, report["findings"][0]["code"]) == (1, "signature.missing")
    assert not (tmp_path / "models").exists()
    assert shell("sign", model.parent, "--key", tmp_path / "key.pem")[0] == 0
    assert shell("publish", model.parent, *options)[0] == 0


def test_two_versions_are_compared(shell: Shell, tmp_path: Path) -> None:
    old, new = onnx_version(tmp_path / "a"), onnx_version(tmp_path / "b")
    save_double(new / "model.onnx", ("batch", 7))
    status, out, _ = shell("diff", old, new)
    assert (status, "inputs changed: x" in out, "callers may break" in out) == (0, True, True)
    assert shell.json("diff", old, new)[1]["inputs"]["changed"] == ["x"]
