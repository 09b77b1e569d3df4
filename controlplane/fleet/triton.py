"""The control side of one Triton: health, repository index, load, unload, and the golden request.

Source: Triton's HTTP protocol, https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from controlplane.env import control_settings
from controlplane.fleet.errors import TritonRefusedError, TritonUnavailableError
from controlplane.fleet.models import Server

CONTROL_HEADER = "triton-control"
"""Name of the header that opens Triton's control API; Triton is started with the same."""
PROBE_TIMEOUT_S = 2.0
LOAD_TIMEOUT_S = 600.0
_LONGEST_REASON = 1000
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Tritons speak plain HTTP; without it each client would read all certificates of the host, 30 ms of every step."""
_LOADED = {"READY", "LOADING", "UNLOADING"}


class IndexEntry(NamedTuple):
    """One version in a server's repository index; `version` is empty where nothing is loaded."""

    name: str
    version: str
    state: str
    reason: str


class TritonClient:
    """A connection to one server's HTTP endpoint; use it as a context manager."""

    def __init__(self, server: Server) -> None:
        headers = {}
        if server.control_secret:
            headers[CONTROL_HEADER] = control_settings().secrets.read(server.control_secret).decode()
        self._name = server.name
        self._http = httpx.Client(
            base_url=f"http://{server.http_address}",
            headers=headers,
            timeout=PROBE_TIMEOUT_S,
            trust_env=False,
            verify=_NO_TLS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def is_live(self) -> bool:
        """Whether the server answers that it lives. False where it does not answer at all, too."""
        try:
            return self._http.get("/v2/health/live").is_success
        except httpx.HTTPError:
            return False

    def metadata(self) -> dict[str, Any]:
        """``name``, ``version`` and ``extensions`` of the server."""
        result: dict[str, Any] = self._call("GET", "/v2").json()
        return result

    def index(self) -> list[IndexEntry]:
        """Everything in the server's repository, loaded or not."""
        entries = self._call("POST", "/v2/repository/index", json={}).json()
        return [
            IndexEntry(entry["name"], entry.get("version", ""), entry.get("state", ""), entry.get("reason", ""))
            for entry in entries
        ]

    def load(self, triton_name: str) -> None:
        """Loads a model and waits until Triton has an answer.

        Raises:
            TritonRefusedError: the model does not load; the message is Triton's reason, without paths or traces.
            TritonUnavailableError: the server does not answer.
        """
        self._call("POST", f"/v2/repository/models/{triton_name}/load", json={}, timeout_s=LOAD_TIMEOUT_S)

    def unload(self, triton_name: str) -> None:
        """Begins to unload a model; requests in flight finish first."""
        self._call("POST", f"/v2/repository/models/{triton_name}/unload", json={}, timeout_s=LOAD_TIMEOUT_S)

    def is_ready(self, triton_name: str, number: int) -> bool:
        """Whether that version of the model takes requests."""
        try:
            return self._http.get(f"/v2/models/{triton_name}/versions/{number}/ready").is_success
        except httpx.HTTPError:
            return False

    def is_loaded(self, triton_name: str) -> bool:
        """Whether the server holds memory for the model: it serves, or is on the way there or from there.

        Raises:
            TritonUnavailableError: the server does not answer.
        """
        return any(entry.name == triton_name and entry.state in _LOADED for entry in self.index())

    def ended_requests(self, triton_name: str, number: int) -> int:
        """How many inference requests of a version the server has ended since it was loaded, well or badly.

        Raises:
            TritonRefusedError: the version is not loaded.
            TritonUnavailableError: the server does not answer.
        """
        statistics = self._call("GET", f"/v2/models/{triton_name}/versions/{number}/stats").json()
        return sum(
            int(model["inference_stats"][outcome]["count"])
            for model in statistics["model_stats"]
            for outcome in ("success", "fail")
        )

    def infer(self, triton_name: str, number: int, request: dict[str, Any]) -> dict[str, Any]:
        """Sends one inference request in V2 JSON and returns the answer."""
        path = f"/v2/models/{triton_name}/versions/{number}/infer"
        result: dict[str, Any] = self._call("POST", path, json=request, timeout_s=60.0).json()
        return result

    def _call(
        self, method: str, path: str, *, json: dict[str, Any] | None = None, timeout_s: float = PROBE_TIMEOUT_S
    ) -> httpx.Response:
        timeout = httpx.Timeout(timeout_s, connect=PROBE_TIMEOUT_S)
        try:
            response = self._http.request(method, path, json=json, timeout=timeout)
        except httpx.HTTPError as error:
            raise TritonUnavailableError(f"Server {self._name!r} does not answer ({type(error).__name__}).") from error
        if not response.is_success:
            raise TritonRefusedError(f"Server {self._name!r} says: {_reason(response)}")
        return response


def free_memory_bytes(server: Server, *, gpu: bool) -> int | None:
    """The memory a model may still take on a server: on its fullest GPU, or of its host. None where that is not known.

    Source: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html
    """
    if not server.metrics_address:
        return None
    try:
        response = httpx.get(
            f"http://{server.metrics_address}/metrics", timeout=PROBE_TIMEOUT_S, trust_env=False, verify=_NO_TLS
        )
        response.raise_for_status()
        return _free_bytes(response.text, "nv_gpu_memory" if gpu else "nv_cpu_memory")
    except (httpx.HTTPError, ValueError):
        return None


def _free_bytes(metrics: str, prefix: str) -> int | None:
    values: dict[str, dict[str, float]] = {"total": {}, "used": {}}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            for kind, by_device in values.items():
                if sample.name == f"{prefix}_{kind}_bytes":
                    by_device[sample.labels.get("gpu_uuid", "")] = sample.value
    free = [total - values["used"][device] for device, total in values["total"].items() if device in values["used"]]
    return int(min(free)) if free else None


def _reason(response: httpx.Response) -> str:
    """Triton's error text, cut to what a person reads: no Python frames, bounded."""
    try:
        text = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = f"HTTP {response.status_code}"
    return clean_reason(text)


def clean_reason(text: str) -> str:
    """Drops the Python frames that Triton appends to the message of a failed load."""
    kept = [line for line in text.split("At:\n", maxsplit=1)[0].splitlines() if line.strip()]
    return " ".join(kept)[:_LONGEST_REASON] or "no reason given"
