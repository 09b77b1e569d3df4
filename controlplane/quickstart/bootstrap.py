"""What a fresh control plane needs before anybody can use it: a first person, key, pool, server and gateway token.

Everything here may be run again: what exists is left alone, what moved (ports, folders) is brought up to date.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from controlplane.access.models import ApiKey
from controlplane.access.services import ensure_defaults, issue_api_key, revoke_api_key
from controlplane.accounts.domain import Role, TokenScope
from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.services import create_user, issue_token, revoke_token, set_password
from controlplane.audit.domain import system_actor
from controlplane.env import control_settings
from controlplane.fleet.models import Pool
from controlplane.fleet.selectors import DEFAULT_POOL
from controlplane.fleet.services import register_pool, register_server
from controlplane.quickstart.environment import read_environment, write_environment

ADMIN = "admin"
QUICKSTART = "quickstart"
GATEWAY_TOKEN_FILE = "gateway_token"  # noqa: S105 - a file's name
CONTROL_SECRET_FILE = "triton_control"  # noqa: S105 - a file's name
ACTOR = system_actor("bootstrap")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of the stack are: URLs for people, ``host:port`` for processes."""

    triton_http: str
    triton_grpc: str
    triton_metrics: str
    repository: str
    gateway_url: str
    gateway_grpc: str
    control_url: str
    triton_url: str


def bootstrap(addresses: Addresses, quickstart_env: Path) -> dict[str, str]:
    """Brings a control plane to where its first user can begin; returns what `quickstart.env` holds."""
    Path(addresses.repository).mkdir(parents=True, exist_ok=True)
    values = read_environment(quickstart_env)
    with transaction.atomic():
        _ensure_fleet(addresses)
        secrets_of_user = _ensure_credentials(values)
        gateway_token = _ensure_gateway_token()
        values |= secrets_of_user | {
            "GATEWAY_URL": addresses.gateway_url,
            "GATEWAY_GRPC": addresses.gateway_grpc,
            "CONTROL_URL": addresses.control_url,
            "TRITON_URL": addresses.triton_url,
        }
        # Inside the transaction: a file that cannot be written takes back the keys that nobody would ever see.
        write_environment(quickstart_env, values)
        if gateway_token is not None:
            _write_secret(GATEWAY_TOKEN_FILE, gateway_token)
    return values


def _ensure_fleet(addresses: Addresses) -> None:
    pool = Pool.objects.filter(slug=DEFAULT_POOL).first()
    if pool is None:
        pool = register_pool(ACTOR, slug=DEFAULT_POOL, title="Default", repository=addresses.repository)
    register_server(
        ACTOR,
        pool=pool,
        name="local",
        http_address=addresses.triton_http,
        grpc_address=addresses.triton_grpc,
        metrics_address=addresses.triton_metrics,
        control_secret=CONTROL_SECRET_FILE,
    )


def _ensure_credentials(known: dict[str, str]) -> dict[str, str]:
    project, plan = ensure_defaults(ACTOR)
    issued: dict[str, str] = {}
    user = User.objects.filter(username=ADMIN).first()
    if user is None or "ADMIN_PASSWORD" not in known:
        issued |= {"ADMIN_USER": ADMIN, "ADMIN_PASSWORD": secrets.token_urlsafe(15)}
    if user is None:
        user = create_user(ACTOR, username=ADMIN, password=issued["ADMIN_PASSWORD"], role=Role.OWNER, superuser=True)
    elif "ADMIN_PASSWORD" in issued:
        set_password(ACTOR, user=user, password=issued["ADMIN_PASSWORD"])
    if "ADMIN_TOKEN" not in known:
        for token in ApiToken.objects.filter(name=QUICKSTART, scope=TokenScope.CONTROL, revoked_at=None):
            revoke_token(ACTOR, token=token)
        issued["ADMIN_TOKEN"] = issue_token(ACTOR, name=QUICKSTART, scope=TokenScope.CONTROL, user=user).secret
    if "API_KEY" not in known:
        for key in ApiKey.objects.filter(label=QUICKSTART, revoked_at=None):
            revoke_api_key(ACTOR, key=key, reason="its quickstart.env is gone")
        issued["API_KEY"] = issue_api_key(
            ACTOR, project=project, plan=plan, label=QUICKSTART, environment="local", owner=ADMIN
        ).secret
    return issued


def _ensure_gateway_token() -> str | None:
    """A token for the gateway on this host; None where its file exists already."""
    if control_settings().secrets.path(GATEWAY_TOKEN_FILE).exists():
        return None
    for token in ApiToken.objects.filter(name=QUICKSTART, scope=TokenScope.GATEWAY, revoked_at=None):
        revoke_token(ACTOR, token=token)
    return issue_token(ACTOR, name=QUICKSTART, scope=TokenScope.GATEWAY).secret


def _write_secret(name: str, text: str) -> None:
    path = control_settings().secrets.path(name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
