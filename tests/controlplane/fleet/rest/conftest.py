import pytest

from controlplane.fleet.models import Pool
from controlplane.fleet.services import register_pool, register_server
from tests.support.models import ACTOR
from tests.support.rest import developer, owner, viewer

__all__ = ["developer", "owner", "pool", "viewer"]


@pytest.fixture
def pool(db: None) -> Pool:
    """The default pool with one server, where nothing listens."""
    pool = register_pool(ACTOR, slug="default", title="Default", repository="/srv/models")
    register_server(ACTOR, pool=pool, name="t1", http_address="127.0.0.1:1", grpc_address="127.0.0.1:2")
    return pool
