"""Which control plane `tritonctl` talks to, and what it says when that does not work."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.controlplane.tritonctl.conftest import Tritonctl
from tests.support.services import free_port
from tests.support.web import Web

PROFILES = """
default = "{default}"

[profiles.here]
control_url = "{url}/"
token = "{token}"

[profiles.gone]
control_url = "http://127.0.0.1:{port}"
token = "{token}"

[profiles.half]
control_url = "{url}"
"""


def write_profiles(home: Path, web: Web, *, default: str = "here") -> Path:
    file = home / ".config" / "tritonctl" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(PROFILES.format(default=default, url=web.url, token=web.admin_token, port=free_port()))
    file.chmod(0o600)
    return file


def write_quickstart(home: Path, url: str, token: str) -> None:
    (home / "var").mkdir()
    (home / "var" / "quickstart.env").write_text(
        f"GATEWAY_URL=http://127.0.0.1:1\nCONTROL_URL={url}\nADMIN_TOKEN={token}\n"
    )


def test_the_environment_says_which(tritonctl: Tritonctl) -> None:
    assert isinstance(tritonctl("model", "list", "--json").json, list)


def test_without_anything_it_says_what_to_do(tritonctl: Tritonctl) -> None:
    error = tritonctl("model", "list", "--json", environment={}).error

    assert error["code"] == "connection.not_found"
    assert "CONTROL_URL" in error["message"]
    assert "make up" in error["message"]


def test_the_stack_on_this_machine_is_the_last_resort(tritonctl: Tritonctl, home: Path, web: Web) -> None:
    write_quickstart(home, web.url, web.admin_token)

    assert isinstance(tritonctl("model", "list", "--json", environment={}).json, list)


def test_a_profile_goes_before_the_stack_on_this_machine(tritonctl: Tritonctl, home: Path, web: Web) -> None:
    write_quickstart(home, f"http://127.0.0.1:{free_port()}", web.admin_token)
    write_profiles(home, web)

    assert isinstance(tritonctl("model", "list", "--json", environment={}).json, list)
    chosen = {"TRITONCTL_PROFILE": "gone"}
    assert tritonctl("model", "list", "--json", environment=chosen).error["code"] == "control.unreachable"


def test_the_profile_asked_for_goes_before_everything(tritonctl: Tritonctl, home: Path, web: Web) -> None:
    write_profiles(home, web, default="gone")

    assert isinstance(tritonctl("--profile", "here", "model", "list", "--json", environment={}).json, list)
    assert tritonctl("--profile", "gone", "model", "list", "--json").error["code"] == "control.unreachable"


def test_the_environment_goes_before_the_usual_profile(tritonctl: Tritonctl, home: Path, web: Web) -> None:
    write_profiles(home, web, default="gone")

    assert isinstance(tritonctl("model", "list", "--json").json, list)


@pytest.mark.parametrize("name", ["CONTROL_URL", "ADMIN_TOKEN"])
def test_a_token_never_goes_to_a_place_from_another_source(
    tritonctl: Tritonctl, home: Path, web: Web, name: str
) -> None:
    write_quickstart(home, web.url, web.admin_token)
    half = {"CONTROL_URL": "http://127.0.0.1:1"} if name == "CONTROL_URL" else {"ADMIN_TOKEN": web.admin_token}

    error = tritonctl("model", "list", "--json", environment=half).error

    assert error["code"] == "connection.incomplete"


def test_a_profile_that_is_not_there_or_not_whole_is_named(tritonctl: Tritonctl, home: Path, web: Web) -> None:
    file = write_profiles(home, web)

    unknown = tritonctl("--profile", "nowhere", "model", "list", "--json").error
    half = tritonctl("--profile", "half", "model", "list", "--json").error

    assert (unknown["code"], "here" in unknown["message"]) == ("profile.not_found", True)
    assert (half["code"], "token" in half["message"]) == ("connection.incomplete", True)
    file.write_text("profiles = [")
    assert tritonctl("--profile", "here", "model", "list", "--json").error["code"] == "profile.invalid"


def test_profiles_that_others_may_read_are_refused(tritonctl: Tritonctl, home: Path, web: Web) -> None:
    write_profiles(home, web).chmod(0o644)

    error = tritonctl("--profile", "here", "model", "list", "--json").error

    assert (error["code"], "chmod 600" in error["message"]) == ("profile.open", True)


def test_a_control_plane_that_is_away_is_named(tritonctl: Tritonctl, web: Web) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    outcome = tritonctl("status", environment={"CONTROL_URL": url, "ADMIN_TOKEN": web.admin_token})

    assert (outcome.status, outcome.stdout) == (1, "")
    assert url in outcome.stderr
    assert "cannot be reached" in outcome.stderr


@pytest.mark.parametrize("token", ["tct_live_wrong", "gateway", "revoked"])
def test_a_refused_token_is_said_to_be_refused(tritonctl: Tritonctl, web: Web, token: str) -> None:
    text = web.tokens.get(token, token)

    error = tritonctl("model", "list", "--json", environment={"CONTROL_URL": web.url, "ADMIN_TOKEN": text}).error

    assert error["code"] == "token.refused"
    assert "the environment" in error["message"]
    assert text not in error["message"]


@pytest.mark.parametrize(
    ("url", "token", "code"),
    [
        ("localhost:8080", "tct_x", "connection.invalid"),
        ("http://", "tct_x", "connection.invalid"),
        ("http://[::1", "tct_x", "connection.invalid"),
        ("http://127.0.0.1:1", "töken", "token.malformed"),
        ("http://127.0.0.1:1", "two words", "token.malformed"),
    ],
)
def test_what_cannot_be_a_url_or_a_token_is_refused(tritonctl: Tritonctl, url: str, token: str, code: str) -> None:
    error = tritonctl("model", "list", "--json", environment={"CONTROL_URL": url, "ADMIN_TOKEN": token}).error

    assert error["code"] == code


def test_a_url_that_leads_elsewhere_is_noticed(tritonctl: Tritonctl, web: Web) -> None:
    environment = {"CONTROL_URL": f"{web.url}/admin", "ADMIN_TOKEN": web.admin_token}

    assert tritonctl("model", "list", "--json", environment=environment).error["code"] == "control.unexpected_answer"


def test_a_token_is_not_sent_through_a_proxy_by_accident(tritonctl: Tritonctl, web: Web) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    environment = {"CONTROL_URL": web.url, "ADMIN_TOKEN": web.admin_token, "HTTP_PROXY": proxy, "http_proxy": proxy}

    assert isinstance(tritonctl("model", "list", "--json", environment=environment).json, list)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["publish"], ["version", "list"], ["publish", "digits"], ["publish", "a@b@c"]]
)
def test_a_wrong_call_exits_with_two(tritonctl: Tritonctl, arguments: list[str]) -> None:
    outcome = tritonctl(*arguments)

    assert (outcome.status, outcome.stdout) == (2, "")
    assert "Usage" in outcome.stderr


def test_names_of_models_are_quoted(tritonctl: Tritonctl) -> None:
    name = f"../keys?{secrets.token_hex(4)}"

    error = tritonctl("version", "list", name, "--json").error

    assert error["code"] in {"model.not_found", "not_found"}
