"""A pool whose one server is a real Triton."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.env import control_settings
from controlplane.fleet.models import Pool, Server
from controlplane.fleet.services import register_pool, register_server
from tests.support.models import ACTOR
from tests.support.triton import TritonServer


@pytest.fixture
def pool(db: None, triton: TritonServer) -> Pool:
    pool = register_pool(ACTOR, slug="default", title="Default", repository=str(triton.repository))
    add_server(pool, "local", triton)
    return pool


def add_server(pool: Pool, name: str, triton: TritonServer) -> Server:
    secret = control_settings().secrets.path(f"control-{name}")
    secret.write_text(triton.control_secret)
    secret.chmod(0o600)
    return register_server(
        ACTOR,
        pool=pool,
        name=name,
        http_address=triton.http_address,
        grpc_address=triton.grpc_url,
        control_secret=secret.name,
    )


def repository_names(pool: Pool) -> list[str]:
    return sorted(path.name for path in Path(pool.repository).iterdir())


def unique_slug(prefix: str) -> str:
    """The shared Triton outlives a test's database, so model names must not repeat."""
    return f"{prefix}-{os.urandom(4).hex()}"
