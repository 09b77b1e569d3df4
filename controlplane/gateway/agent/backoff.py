"""How long to wait before trying again, and how often to say so."""

from __future__ import annotations

import logging
import random
import time

_REPEAT_LOG_S = 60.0


class Backoff:
    """Waits that double from `first_s` up to `most_s`, a little random so that gateways spread out."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def fail(self) -> float:
        """Notes a failure; seconds to wait."""
        wait_s = min(self._most_s, self._first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        return wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - nothing to guess

    def succeed(self) -> None:
        """Begins again with the shortest wait."""
        self._failures = 0


class Complaint:
    """Logs a lasting trouble when it begins, changes, ends, and once a minute; not at every try."""

    def __init__(self, logger: logging.Logger, trouble: str, recovery: str) -> None:
        self._logger = logger
        self._trouble = trouble
        self._recovery = recovery
        self._reason = ""
        self._logged_at = 0.0

    def report(self, reason: str) -> None:
        """Notes that the trouble is there."""
        now = time.monotonic()
        if reason != self._reason or now - self._logged_at > _REPEAT_LOG_S:
            self._logger.error(self._trouble, extra={"reason": reason})
            self._reason, self._logged_at = reason, now

    def settle(self) -> None:
        """Notes that it is gone."""
        if self._reason:
            self._logger.info(self._recovery)
            self._reason = ""
