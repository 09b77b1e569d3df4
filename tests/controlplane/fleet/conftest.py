"""A pool whose one server is a real Triton."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.env import control_settings
from controlplane.fleet.models import Pool, Publication, Server
from controlplane.fleet.publishing import run_publication
from controlplane.fleet.services import publish_version, register_pool, register_server
from controlplane.registry.models import ModelVersion
from controlplane.snapshots.controller import Controller
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


def carried_out(publication: Publication) -> Publication:
    """A publication after a worker had it, with its version as it is now."""
    run_publication(publication.pk)
    publication.refresh_from_db()
    publication.version.refresh_from_db()
    return publication


def published(version: ModelVersion, pool: Pool) -> Publication:
    """The publication of a version, carried out."""
    return carried_out(publish_version(ACTOR, version=version, pool=pool))


@pytest.fixture
def controller(transactional_db: None) -> Iterator[Controller]:
    """A leading controller: it builds snapshots and tells retirements what the gateways obey."""
    controller = Controller()
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        yield controller
    finally:
        controller.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()
