"""Which control plane to talk to, and with which token."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from controlplane.env import ClientSettings
from controlplane.wire.errors import InvalidError, NotFoundError

PRIVATE_MODE_MASK = 0o077


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a control plane is and what opens it.

    Attributes:
        source: where these two were found, for error messages.
    """

    url: str
    token: str = field(repr=False)
    source: str


def find_connection(settings: ClientSettings, profile: str | None = None) -> Connection:
    """The first that is there: the profile asked for, the environment, the usual profile, the stack on this machine.

    URL and token always come from one place: a token is never sent to a control plane that another file names.

    Raises:
        InvalidError: a place is there and incomplete.
        NotFoundError: nothing is there.
    """
    if profile:
        return _from_profile(settings.profiles_file, profile)
    if settings.control_url or settings.admin_token:
        values = {"CONTROL_URL": settings.control_url, "ADMIN_TOKEN": settings.admin_token}
        return _connection(values, "CONTROL_URL", "ADMIN_TOKEN", "the environment")
    if settings.tritonctl_profile:
        return _from_profile(settings.profiles_file, settings.tritonctl_profile)
    if settings.profiles_file.is_file() and (usual := _read_profiles(settings.profiles_file).get("default")):
        return _from_profile(settings.profiles_file, str(usual))
    if settings.quickstart_env.is_file():
        values = dotenv_values(settings.quickstart_env, interpolate=False)
        return _connection(values, "CONTROL_URL", "ADMIN_TOKEN", str(settings.quickstart_env))
    raise NotFoundError(
        "No control plane is known: set CONTROL_URL and ADMIN_TOKEN, write a profile into "
        f"{settings.profiles_file}, or start a stack here with `make up`.",
        code="connection.not_found",
    )


def _from_profile(file: Path, name: str) -> Connection:
    profiles = _read_profiles(file).get("profiles", {})
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = ", ".join(sorted(profiles)) if isinstance(profiles, dict) else ""
        raise NotFoundError(
            f"There is no profile {name!r} in {file}; there are: {known or 'none'}.", code="profile.not_found"
        )
    return _connection(profiles[name], "control_url", "token", f"profile {name!r}")


def _read_profiles(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        is_private = not file.stat().st_mode & PRIVATE_MODE_MASK
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidError(f"{file} cannot be read: {error}.", code="profile.invalid") from error
    if not is_private:
        raise InvalidError(f"{file} holds tokens and others may read it: run `chmod 600 {file}`.", code="profile.open")
    return content


def _connection(values: dict[str, Any], url_name: str, token_name: str, source: str) -> Connection:
    url, token = str(values.get(url_name) or "").strip().rstrip("/"), str(values.get(token_name) or "").strip()
    missing = [name for name, value in ((url_name, url), (token_name, token)) if not value]
    if missing:
        raise InvalidError(
            f"{source} names no {' and no '.join(missing)}; {url_name} and {token_name} go together.",
            code="connection.incomplete",
        )
    if not url.startswith(("http://", "https://")):
        raise InvalidError(f"{url_name} of {source} must begin with http:// or https://.", code="connection.invalid")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InvalidError(f"{token_name} of {source} is no token: it has to begin with tct_.", code="token.malformed")
    return Connection(url, token, source)
