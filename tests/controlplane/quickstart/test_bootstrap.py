"""The first user, key, pool and server of a fresh control plane."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.contrib.auth import authenticate

from controlplane.access.models import ApiKey
from controlplane.accounts.domain import TokenScope
from controlplane.accounts.models import ApiToken, User
from controlplane.accounts.selectors import get_token
from controlplane.env import control_settings
from controlplane.fleet.models import Pool, Server
from controlplane.quickstart.bootstrap import GATEWAY_TOKEN_FILE, Addresses, bootstrap
from controlplane.quickstart.environment import NAMES, read_environment
from controlplane.wire.keys import parse_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def addresses(tmp_path: Path) -> Addresses:
    return Addresses(
        triton_http="127.0.0.1:8100",
        triton_grpc="127.0.0.1:8101",
        triton_metrics="127.0.0.1:8102",
        repository=str(tmp_path / "repository"),
        gateway_url="http://127.0.0.1:8000",
        gateway_grpc="127.0.0.1:8001",
        control_url="http://127.0.0.1:8080",
        triton_url="http://127.0.0.1:8100",
    )


@pytest.fixture(autouse=True)
def no_gateway_token() -> Iterator[None]:
    path = control_settings().secrets.path(GATEWAY_TOKEN_FILE)
    path.unlink(missing_ok=True)
    yield
    path.unlink(missing_ok=True)


def test_a_fresh_control_plane_can_be_used(addresses: Addresses, tmp_path: Path) -> None:
    path = tmp_path / "var" / "quickstart.env"
    values = bootstrap(addresses, path)
    assert read_environment(path) == values
    assert list(values.keys() - set(NAMES)) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert authenticate(username=values["ADMIN_USER"], password=values["ADMIN_PASSWORD"]) is not None
    assert get_token(values["ADMIN_TOKEN"], TokenScope.CONTROL).user == User.objects.get()
    key = parse_key(values["API_KEY"])
    assert key is not None
    assert ApiKey.objects.get(key_id=key.key_id).plan.slug == "local"
    gateway_token = control_settings().secrets.read(GATEWAY_TOKEN_FILE).decode()
    assert get_token(gateway_token, TokenScope.GATEWAY).user is None


def test_running_it_again_keeps_what_is_there_and_moves_addresses(addresses: Addresses, tmp_path: Path) -> None:
    path = tmp_path / "quickstart.env"
    first = bootstrap(addresses, path)
    moved = replace(addresses, triton_http="127.0.0.1:9100", gateway_url="http://127.0.0.1:9000")
    second = bootstrap(moved, path)
    changed = {name for name in NAMES if first[name] != second[name]}
    assert changed == {"GATEWAY_URL"}
    assert Server.objects.get().http_address == "127.0.0.1:9100"
    assert (User.objects.count(), ApiKey.objects.count(), Pool.objects.count()) == (1, 1, 1)
    assert ApiToken.objects.count() == 2


def test_a_lost_credentials_file_gives_new_credentials_and_ends_the_old(addresses: Addresses, tmp_path: Path) -> None:
    path = tmp_path / "quickstart.env"
    first = bootstrap(addresses, path)
    path.unlink()
    second = bootstrap(addresses, path)
    assert all(first[name] != second[name] for name in ("ADMIN_PASSWORD", "API_KEY", "ADMIN_TOKEN"))
    assert ApiKey.objects.filter(revoked_at=None).count() == 1
    assert ApiToken.objects.filter(revoked_at=None, scope=TokenScope.CONTROL).count() == 1
    assert authenticate(username="admin", password=first["ADMIN_PASSWORD"]) is None
