"""Tasks that the tests run in the child."""

import os
import socket
import time
from typing import Any

from model_repository_tools.errors import InvalidModelError


def echo(**request: Any) -> dict[str, Any]:
    return request


def environment() -> list[str]:
    return sorted(os.environ)


def connect(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), 2):
            return "connected"
    except OSError as error:
        return type(error).__name__


def refuse() -> None:
    raise InvalidModelError("no model at all")


def crash() -> None:
    os.abort()


def write(path: str) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 - the plainest way there is
        for _ in range(100):
            file.write(bytes(1 << 20))
            file.flush()


def sleep() -> None:
    time.sleep(60)


def own_pid(path: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - as above
        file.write(str(os.getpid()))
    time.sleep(60)
