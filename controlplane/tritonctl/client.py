"""The REST API as `tritonctl` calls it: every failure is one error with a sentence that helps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from controlplane.tritonctl.connection import Connection
from controlplane.wire.errors import ControlPlaneError, InvalidError, UnauthenticatedError, UnavailableError

TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0
PAGE_SIZE = 100


class ControlClient:
    """One control plane, with one token; use it in a ``with``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # Environment variables are read in one place; one of them could send the token through a proxy.
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {connection.token}"},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=False,
        )

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, *path: str | int, **query: str | int) -> Any:
        """What lies at ``/api/...``.

        Raises:
            ControlPlaneError: the API's own error.
            UnauthenticatedError: the token was refused.
            UnavailableError: no control plane answers there.
        """
        return _body_of(self._send("GET", _path("api", *path), params=query), self.connection)

    def post(self, *path: str | int, body: dict[str, Any] | None = None) -> Any:
        """What the API answers to a body; raises as `get`."""
        return _body_of(self._send("POST", _path("api", *path), json=body or {}), self.connection)

    def exchange(
        self,
        method: str,
        *path: str | int,
        headers: dict[str, str] | None = None,
        content: bytes = b"",
        timeout_s: float = TIMEOUT_S,
        come_back: Collection[int] = (),
    ) -> httpx.Response:
        """An answer of the API with its headers; raises as `get`.

        Statuses of `come_back` mean that the same may work a moment later: they are an `UnavailableError` too.
        """
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        answer = self._send(method, _path("api", *path), headers=headers, content=content, timeout=timeout)
        if answer.is_success:
            return answer
        if answer.status_code in come_back:
            raise UnavailableError(
                f"The control plane at {self.connection.url} goes on answering {answer.status_code}.",
                code="control.busy",
            )
        if method == "HEAD":
            raise ControlPlaneError(
                f"The control plane answered {answer.status_code} to HEAD; what it was asked for may be gone.",
                code="control.refused",
            )
        _body_of(answer, self.connection)
        raise _not_a_control_plane(answer, self.connection)

    def put(self, *path: str | int, body: dict[str, Any]) -> Any:
        """What the API answers to a body that replaces what lies there; raises as `get`."""
        return _body_of(self._send("PUT", _path("api", *path), json=body), self.connection)

    def pages(self, *path: str | int, **query: str) -> Iterator[dict[str, Any]]:
        """Every object of a list, page after page; raises as `get`."""
        number = 1
        while True:
            page = self.get(*path, page=number, page_size=PAGE_SIZE, **query)
            yield from page["results"]
            if page["next"] is None:
                return
            number += 1

    def count(self, *path: str | int) -> int:
        """How many objects a list has; raises as `get`."""
        return int(self.get(*path, page_size=1)["count"])

    def readiness(self) -> dict[str, Any]:
        """What the control plane says of itself and of what it depends on, ready or not; raises as `get`."""
        response = self._send("GET", _path("ready"))
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return _json_object(response, self.connection)
        answer: dict[str, Any] = _body_of(response, self.connection)
        return answer

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = self.connection.url
        try:
            return self._http.request(method, url + path, **options)
        except httpx.TimeoutException:
            raise UnavailableError(
                f"The control plane at {url} did not answer in time.", code="control.unreachable"
            ) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidError(f"{url!r} is no URL of a control plane: {error}.", code="connection.invalid") from None
        except httpx.TransportError as error:
            raise UnavailableError(
                f"The control plane at {url} (from {self.connection.source}) cannot be reached: {error}. "
                "Is it running, and is the URL right?",
                code="control.unreachable",
            ) from None


def _path(*parts: str | int) -> str:
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


def _body_of(response: httpx.Response, connection: Connection) -> Any:
    body = _json_object(response, connection)
    if response.is_success:
        return body
    error = body.get("error")
    if not isinstance(error, dict):
        raise _not_a_control_plane(response, connection)
    message = str(error.get("message") or "The control plane refused, and did not say why.")
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise UnauthenticatedError(
            f"The control plane at {connection.url} refused the token from {connection.source}: {message}",
            code="token.refused",
        )
    details = error.get("details")
    raise ControlPlaneError(
        message, code=str(error.get("code") or "unknown"), details=details if isinstance(details, dict) else None
    )


def _json_object(response: httpx.Response, connection: Connection) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        raise _not_a_control_plane(response, connection) from None
    if not isinstance(body, dict):
        raise _not_a_control_plane(response, connection)
    return body


def _not_a_control_plane(response: httpx.Response, connection: Connection) -> UnavailableError:
    kind = response.headers.get("content-type", "nothing").partition(";")[0]
    return UnavailableError(
        f"{connection.url} answered {response.status_code} with {kind} instead of the control plane's JSON. "
        "Does the URL lead to a control plane?",
        code="control.unexpected_answer",
    )
