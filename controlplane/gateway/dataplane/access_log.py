"""The access log: every failed request, and a sample of the others."""

from __future__ import annotations

import logging
import random
from typing import Any

logger = logging.getLogger("controlplane.gateway.access")

FAILED = 400
"""Statuses from here on are logged whatever the sample."""


class AccessLog:
    """Decides which requests are logged, and logs them.

    A line has no part of a body, no query and no key's secret.
    """

    def __init__(self, sampled_ratio: float) -> None:
        self._sampled_ratio = sampled_ratio

    def wants(self, status: int) -> bool:
        """Whether a request that ends with this HTTP status is to be logged."""
        return status >= FAILED or (self._sampled_ratio > 0.0 and random.random() < self._sampled_ratio)  # noqa: S311

    def write(self, **fields: Any) -> None:
        """Logs a request."""
        logger.info("A request ended.", extra={name: value for name, value in fields.items() if value not in {"", 0}})


def trace_id(traceparent: str) -> str:
    """The trace in a ``traceparent`` header, empty where there is none; the header itself is passed on as it came.

    Source: W3C Trace Context, version 00: ``00-<32 hex digits>-<16>-<2>``.
    """
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum() else ""
