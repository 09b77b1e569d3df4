"""The controller: what must be prompt. Any number may run; one leads.

Three loops, each a thread of its own so that a server that does not answer delays no revocation: the snapshot, the
probes, and handing out publications and imports that no worker took up.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable

from django.db import close_old_connections, connection
from django.db.utils import DatabaseError

from controlplane.audit.models import PendingChange
from controlplane.fleet.probing import probe_servers
from controlplane.fleet.services import hand_out_publications
from controlplane.registry.import_jobs import hand_out_imports
from controlplane.snapshots.errors import LeaseLostError
from controlplane.snapshots.leases import LEASE_S, Lease, acquire, release
from controlplane.snapshots.services import build_snapshot, confirm_withdrawals

logger = logging.getLogger(__name__)

SNAPSHOT_INTERVAL_S = 0.05
PROBE_INTERVAL_S = 1.0
HAND_OUT_INTERVAL_S = 5.0


class Controller:
    """One controller process. `run` returns after `stop`."""

    def __init__(self) -> None:
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._stopping = threading.Event()
        self._lease: Lease | None = None

    @property
    def leads(self) -> bool:
        """Whether this process holds the lease."""
        return self._lease is not None

    def stop(self) -> None:
        """Makes `run` return soon; safe to call from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Leads whenever it may, until stopped."""
        loops = [
            threading.Thread(target=self._loop, args=(name, interval_s, work), name=name, daemon=True)
            for name, interval_s, work in (
                ("snapshot", SNAPSHOT_INTERVAL_S, self._build_snapshot),
                ("probe", PROBE_INTERVAL_S, self._probe),
                ("hand-out", HAND_OUT_INTERVAL_S, self._hand_out),
            )
        ]
        for loop in loops:
            loop.start()
        try:
            while not self._stopping.wait(LEASE_S / 3):
                self._renew()
            for loop in loops:
                loop.join(timeout=LEASE_S)
            if self._lease is not None:
                release(self._lease)
        finally:
            connection.close()

    def _renew(self) -> None:
        try:
            lease = acquire(self._holder)
        except DatabaseError as error:
            logger.warning("the lease cannot be renewed: %s", error)
            lease = None
        if (lease is None) != (self._lease is None):
            logger.info("this controller %s", "leads" if lease else "follows")
        self._lease = lease

    def _loop(self, name: str, interval_s: float, work: Callable[[], object]) -> None:
        if name == "snapshot":
            self._renew()
        while not self._stopping.is_set():
            started = time.monotonic()
            if self.leads:
                try:
                    work()
                except LeaseLostError:
                    self._lease = None
                except (DatabaseError, OSError) as error:
                    logger.warning("%s will be tried again: %s", name, error)
                except Exception:
                    logger.exception("%s broke; it will be tried again", name)
                close_old_connections()
            self._stopping.wait(max(0.0, interval_s - (time.monotonic() - started)))
        connection.close()

    def _build_snapshot(self) -> None:
        lease = self._lease
        if lease is not None and PendingChange.objects.exists():
            build_snapshot(lease)
        if lease is not None:
            confirm_withdrawals()

    def _probe(self) -> None:
        probe_servers()

    def _hand_out(self) -> None:
        hand_out_publications()
        hand_out_imports()
