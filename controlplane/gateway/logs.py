"""Logs of the gateway's processes: one JSON object per line on standard output.

Pass fields by ``logger.info("A worker is ready.", extra={"worker": 0})``. Messages are constant sentences; what varies
is a field, so that logs can be searched by either.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec

from controlplane.wire.keys import API_KEY, CONTROL_TOKEN, GATEWAY_TOKEN

_KEY_SECRET = re.compile(
    rf"((?:{API_KEY}|{CONTROL_TOKEN}|{GATEWAY_TOKEN})_[a-z][a-z0-9]*_[0-9a-z]+_)[0-9A-Za-z]+(_[0-9A-Za-z]+)?"
)
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, process, message, and the fields given as `extra`.

    A key or token that finds its way into a field keeps its id and loses its secret.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD_FIELDS)
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return _KEY_SECRET.sub(r"\1...", msgspec.json.encode(line, enc_hook=str).decode())


def configure_logs(process: str, level: str) -> None:
    """Sends this process' logs to standard output.

    Args:
        process: names the process in every line: ``agent``, ``worker-0``.
        level: the least severe level to show, by its name in the standard library.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(process))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
