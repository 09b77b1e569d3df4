"""docs/configuration.md says of every variable what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_settings import BaseSettings

from controlplane.env import PROJECT_DIR, ClientSettings, ControlSettings, GatewaySettings
from deploy.embedded.layout import Layout

_ROW = re.compile(r"^\| `(\w+)` \| (?:`([^`]*)`|(none)) \| (.+) \|$", re.MULTILINE)


def _documented() -> dict[str, str]:
    text = (PROJECT_DIR / "docs" / "configuration.md").read_text()
    return {name: default for name, default, _, _ in _ROW.findall(text)}


def _as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return ",".join(map(str, value))
        case Path():
            return str(value.relative_to(PROJECT_DIR))
        case _:
            return str(value)


def _settings(settings: type[BaseSettings]) -> dict[str, str]:
    prefix = settings.model_config["env_prefix"]
    return {f"{prefix}{name}".upper(): _as_text(field.default) for name, field in settings.model_fields.items()}


def _embedded_defaults() -> dict[str, str]:
    layout = Layout.from_environment({})
    folders = {"UP_STATE_DIR": layout.state_dir, "UP_VENV": layout.venv, "UP_TRITON_ENV": layout.triton_env}
    ports = {port.variable: str(port.number) for port in layout.ports.all()}
    return {name: _as_text(path) for name, path in folders.items()} | ports | {"UP_HOST": layout.ports.http.host}


def test_every_setting_is_documented_with_its_default() -> None:
    expected = _settings(ControlSettings) | _settings(GatewaySettings) | _settings(ClientSettings)
    assert _documented() == expected | _embedded_defaults()


def test_every_variable_of_the_embedded_stack_is_known() -> None:
    sources = (PROJECT_DIR / "deploy" / "embedded").glob("*.py")
    named = {name for source in sources for name in re.findall(r"\bUP_[A-Z_]*[A-Z]\b", source.read_text())}
    assert named == set(_embedded_defaults())
