"""Errors of the quickstart."""

from controlplane.wire.errors import ControlPlaneError, ErrorKind


class DemoFailedError(ControlPlaneError):
    """The demo could not be set up."""

    kind = ErrorKind.UNAVAILABLE
    code = "demo.failed"
