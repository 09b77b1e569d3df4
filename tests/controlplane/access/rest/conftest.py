from tests.support.rest import developer, owner, viewer

__all__ = ["developer", "owner", "viewer"]
