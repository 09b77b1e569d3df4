"""What the agent says to the control plane: give me newer orders; here is what was served."""

from __future__ import annotations

import importlib.metadata
from urllib.parse import quote

from controlplane.gateway.agent.http_client import HttpConnection, HttpResponse
from controlplane.wire.errors import ControlPlaneError, UnauthenticatedError, UnavailableError
from controlplane.wire.usage import UsageBatch, encode_batch

POLL_WAIT_S = 2.0
"""How long the control plane may hold a poll that has nothing new; also how fresh `confirmed` is kept."""
_ANSWER_TIMEOUT_S = 30.0


def release() -> str:
    """This gateway's release, for the control plane's list of gateways."""
    try:
        return importlib.metadata.version("triton-controlplane")
    except importlib.metadata.PackageNotFoundError:
        return "source"


class RefusedError(ControlPlaneError):
    """The control plane answered and would not take it; sending the same again at once is no use."""

    code = "control.refused"


class ControlPlane:
    """The control plane's internal API, as one gateway sees it."""

    def __init__(self, url: str, *, gateway: str, token: str) -> None:
        # Two connections: a poll that waits must not hold up usage.
        self._orders = HttpConnection(url)
        self._usage = HttpConnection(url)
        self._headers = {
            "Authorization": f"Bearer {token}",
            "X-Gateway-Name": gateway,
            "X-Gateway-Release": release(),
            "Accept-Encoding": "identity",
        }

    async def fetch_snapshot(self, *, instance: str, since: int) -> bytes | None:
        """The signed envelope of what is newer than `since`; None after `POLL_WAIT_S` without anything new.

        Args:
            instance: the control plane that `since` is a revision of.
            since: says that all workers of this gateway applied that revision; 0 asks for a base.

        Raises:
            UnavailableError: no answer; UnauthenticatedError: the token is not accepted; RefusedError: anything else.
        """
        path = f"/internal/snapshot?since={since}&instance={quote(instance, safe='')}&wait={POLL_WAIT_S:g}"
        response = await self._orders.request("GET", path, self._headers, timeout_s=POLL_WAIT_S + _ANSWER_TIMEOUT_S)
        if response.status == 204:
            return None
        _check(response)
        return response.body

    async def send_usage(self, batch: UsageBatch) -> None:
        """Delivers a batch; returns once the control plane has it, now or from an earlier try.

        Raises:
            UnavailableError: no answer; UnauthenticatedError: the token is not accepted; RefusedError: anything else.
        """
        headers = {**self._headers, "Content-Type": "application/json"}
        _check(
            await self._usage.request(
                "POST", "/internal/usage", headers, encode_batch(batch), timeout_s=_ANSWER_TIMEOUT_S
            )
        )

    def close(self) -> None:
        """Closes the connections."""
        self._orders.close()
        self._usage.close()


def _check(response: HttpResponse) -> None:
    if response.status == 200:
        return
    if response.status in {401, 403}:
        raise UnauthenticatedError(
            "The control plane does not accept this gateway's token: register the gateway there and put its token "
            "into the secret file `gateway_token`."
        )
    answer = f"The control plane answered {response.status}: {response.body[:200].decode(errors='replace')}"
    if response.status >= 500:
        raise UnavailableError(answer)
    raise RefusedError(answer)
