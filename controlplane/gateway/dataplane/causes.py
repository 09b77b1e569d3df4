"""Whose doing an upstream's answer is: only what is the model's counts against a version."""

from __future__ import annotations

from controlplane.wire.usage import Cause

_UNREADABLE_BODY = ("failed to parse", "unable to parse")
"""How the texts begin with which Triton answers 500 to a body that it cannot read."""

_GRPC_OK = 0
_GRPC_CANCELLED = 1
_GRPC_REQUEST = frozenset({3, 6, 9, 11, 12})
"""INVALID_ARGUMENT, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED."""


def cause_of_http(status: int, error: str = "") -> Cause:
    """The cause of a Triton's HTTP status.

    A 404 is the model's: the gateway asks only for versions that are published, so it is Triton that lost one.
    """
    if status < 400:
        return Cause.OK
    if status in {404, 499} or status >= 500:
        if status == 500 and error.lower().startswith(_UNREADABLE_BODY):
            return Cause.REQUEST
        return Cause.MODEL
    return Cause.REQUEST


def cause_of_grpc(status: int) -> Cause:
    """The cause of a Triton's gRPC status code."""
    if status == _GRPC_OK:
        return Cause.OK
    if status == _GRPC_CANCELLED:
        return Cause.CLIENT
    return Cause.REQUEST if status in _GRPC_REQUEST else Cause.MODEL
