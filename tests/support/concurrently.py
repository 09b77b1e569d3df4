"""Running the same thing at the same time in several threads, each with a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def concurrently(work: Callable[[int], T], *, threads: int = 8) -> list[T]:
    """Calls ``work(0)``, ``work(1)`` ... all released at once; returns their results in that order."""
    barrier = threading.Barrier(threads)

    def run(index: int) -> T:
        barrier.wait()
        try:
            return work(index)
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))
