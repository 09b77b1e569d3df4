"""Environments are made from locks with hashes, by whatever index pip is configured for."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded import environments
from deploy.embedded.environments import STAMP, Recipe
from deploy.embedded.errors import StackError
from deploy.embedded.layout import PROJECT_DIR, Layout

PIP_LISTING = """\
:env:.cert='/etc/ca.pem'
global.cert='/old/ca.pem'
global.index-url='https://mirror.example/simple'
global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'
install.find-links='/wheels /more-wheels'
download.timeout='3'
"""


def test_uv_gets_the_package_index_of_pip() -> None:
    settings = environments.uv_index_settings({}, environments.parse_pip_configuration(PIP_LISTING))
    assert settings["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert settings["UV_INDEX"] == "https://a.example/simple https://b.example/simple"
    assert settings["UV_FIND_LINKS"] == "/wheels,/more-wheels"
    assert settings["SSL_CERT_FILE"] == "/etc/ca.pem"


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_an_index_that_was_chosen_for_uv_stays(variable: str) -> None:
    chosen = {variable: "https://chosen.example/simple"}
    settings = environments.uv_index_settings(chosen, {"index-url": "https://mirror.example/simple"})
    assert "https://mirror.example/simple" not in settings.values()


def test_the_installer_is_the_one_that_the_lock_pins() -> None:
    pin = environments.pinned_requirement(environments.REQUIREMENTS / "dev.lock", "uv")
    assert pin.startswith("uv==")
    assert pin.count("--hash=sha256:") >= 1
    assert all(line.startswith(("uv==", "    --hash=sha256:")) for line in pin.splitlines())


def test_a_lock_without_the_installer_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "dev.lock").write_text("uvicorn==1.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(StackError, match="make lock"):
        environments.pinned_requirement(tmp_path / "dev.lock", "uv")


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    recipe = Recipe("triton", tmp_path, ("triton.lock",))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / STAMP).write_text(f"{recipe.fingerprint()} 3.11\n")
    return recipe


def test_a_complete_environment_is_not_made_again(made: Recipe) -> None:
    assert environments.is_current(made, None)
    assert environments.is_current(made, "3.11")


def test_an_environment_is_made_again_for_another_python(made: Recipe) -> None:
    assert not environments.is_current(made, "3.12")


def test_an_environment_is_made_again_when_it_was_interrupted(made: Recipe) -> None:
    (made.path / STAMP).unlink()
    assert not environments.is_current(made, None)


def test_an_environment_is_made_again_when_its_lock_changed(made: Recipe) -> None:
    (made.path / STAMP).write_text("triton 0123 3.11\n")
    assert not environments.is_current(made, None)


def test_the_tests_environment_serves_the_stack_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = replace(Layout.from_environment({"UP_STATE_DIR": str(tmp_path / "var")}), venv=tmp_path / "venv")
    dev = environments.recipes(layout)["dev"]
    (dev.path / "bin").mkdir(parents=True)
    (dev.path / "bin" / "python").touch()
    (dev.path / STAMP).write_text(f"{dev.fingerprint()} 3.11\n")
    environments.ensure(["embedded", "dev"], layout, None)
    assert capsys.readouterr().out == ""


def test_an_environment_that_the_caller_brought_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"UP_STATE_DIR": str(tmp_path), "UP_VENV": str(tmp_path / "a"), "UP_TRITON_ENV": str(tmp_path / "b")}
    environments.ensure(["embedded", "triton"], Layout.from_environment(environ), None)
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["no-such-python", "/bin/false"])
def test_a_python_that_does_not_fit_is_refused_by_name(name: str) -> None:
    finder = PROJECT_DIR / "deploy" / "embedded" / "find-python"
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": name}
    result = subprocess.run([finder], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: PYTHON={name} is not a Python 3.11 or 3.12 with pip: name one that is.\n"


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    finder = PROJECT_DIR / "deploy" / "embedded" / "find-python"
    result = subprocess.run(
        ["/bin/sh", finder], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "apt-get install python3 python3-pip" in result.stderr


def test_the_scripts_of_the_project_are_in_the_environment() -> None:
    scripts = Path(sys.prefix) / "bin"
    assert {"tritonctl", "model-repository"} <= {script.name for script in scripts.iterdir()}
