"""The web process."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

_django = get_asgi_application()

from controlplane.registry.rest.streaming import StreamedBodies  # noqa: E402 - needs the apps to be loaded

application = StreamedBodies(_django)
