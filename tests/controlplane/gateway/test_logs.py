import json
import logging
import sys
from typing import Any

from controlplane.gateway.logs import JsonFormatter
from controlplane.wire.keys import generate_key


def format_line(message: str, *, level: int = logging.INFO, exc_info: Any = None, **fields: object) -> dict[str, Any]:
    record = logging.LogRecord("gateway", level, "file.py", 1, message, None, exc_info)
    vars(record).update(fields)
    line = JsonFormatter("worker-1").format(record)
    assert "\n" not in line
    return dict(json.loads(line))


def test_a_line_is_one_json_object_with_its_fields() -> None:
    line = format_line("A worker is ready.", worker=1, reason=None)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "process": "worker-1",
        "message": "A worker is ready.",
        "worker": 1,
        "reason": None,
    }


def test_what_json_cannot_say_is_written_as_text() -> None:
    assert format_line("Odd.", value={1}, error=ValueError("no"))["error"] == "no"


def test_a_key_in_a_line_loses_its_secret_and_keeps_its_id() -> None:
    key = generate_key("live")
    line = format_line(f"got {key.text}", header=f"Bearer {key.text}")
    secret = key.text.split("_")[3]
    assert secret not in json.dumps(line)
    assert f"tgk_live_{key.key_id}_..." in line["message"]


def test_an_exception_comes_with_its_traceback() -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        line = format_line("Failed.", level=logging.ERROR, exc_info=sys.exc_info())
    assert "RuntimeError: broken" in line["traceback"]
