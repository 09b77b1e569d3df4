"""The gateway's metrics in Prometheus' text format.

Counters and histograms are sums over the journals' records: right over any number of workers, and nothing is lost with
a worker that is killed. Levels come from the agent and, through it, from the workers. No label names a key or a client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.gateway.journal.sums import DURATION_BOUNDS_US, Digest, Sums
from controlplane.wire.usage import Arm, Cause, Protocol

CONTENT_TYPE = CONTENT_TYPE_LATEST

_BOUNDS = [*(f"{bound / 1e6:g}" for bound in DURATION_BOUNDS_US), "+Inf"]
_SERIES_LABELS = ["model", "version", "arm", "protocol"]
_TRITON_LABELS = ["server", "model", "version"]
_LOAD_LABELS = ["model", "version", "event"]
_REQUEST_LABELS = [*_SERIES_LABELS, "cause", "status"]


class Series(NamedTuple):
    """The numbers behind the labels that every request metric has."""

    model: int
    version: int
    arm: int
    protocol: int


class RequestMetrics:
    """Everything counted since the agent started."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[Series, int, int], int] = {}
        """Requests by series, cause and hundreds of the status."""
        self.sums: dict[Series, Sums] = {}
        self.durations: dict[Series, list[int]] = {}
        """Requests by series and bucket, not cumulative."""

    def absorb(self, digest: Digest) -> None:
        """Adds a run of records."""
        for group, sums in digest.groups.items():
            series = Series(group.model, group.version, group.arm, group.protocol)
            outcome = (series, group.cause, group.status_class)
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + sums.requests
            self.sums.setdefault(series, Sums()).add(sums)
        for timing, count in digest.timings.items():
            buckets = self.durations.setdefault(Series._make(timing[:-1]), [0] * len(_BOUNDS))
            buckets[timing.bucket] += count


@dataclass(frozen=True, slots=True)
class Upstream:
    """A Triton as the workers see it."""

    name: str
    pool: str
    up: bool


@dataclass(frozen=True, slots=True)
class Levels:
    """What is so at this moment.

    Attributes:
        snapshot_age_s: since the control plane last confirmed the orders; infinite before the first.
        unshipped_records: usage the control plane has not acknowledged.
    """

    snapshot_revision: int
    snapshot_age_s: float
    workers: int
    workers_ready: int
    worker_restarts: int
    in_flight: int
    connections: int
    unshipped_records: int
    shipped_records: int
    upstreams: list[Upstream]


class ModelStatistics(NamedTuple):
    """What a Triton says of a version.

    Attributes:
        inferences: rows inferred; executions: batches run; both since the server started, as are the times.
        batch_size: mean of the last interval.
        queue_length: mean of the last interval.
    """

    server: str
    model: str
    version: int
    inferences: int
    executions: int
    queue_s: float
    compute_s: float
    batch_size: float
    queue_length: float


class GatewayCollector(Collector):
    """One scrape.

    Args:
        model_names: names for the models' numbers; a number without one is shown as it is.
    """

    def __init__(
        self,
        requests: RequestMetrics,
        levels: Levels,
        model_names: Mapping[int, str],
        statistics: Iterable[ModelStatistics] = (),
        load_events: Mapping[tuple[str, int, str], int] | None = None,
    ) -> None:
        self._requests = requests
        self._statistics = list(statistics)
        self._load_events = load_events or {}
        self._levels = levels
        self._model_names = model_names

    def collect(self) -> Iterator[Metric]:
        """Every metric family."""
        yield from self._collect_counters()
        yield self._durations()
        yield from self._collect_levels()
        yield from self._collect_statistics()
        events = CounterMetricFamily(
            "gateway_model_load_events", "Versions that became ready, or ceased to be.", labels=_LOAD_LABELS
        )
        for (model, version, event), count in sorted(self._load_events.items()):
            events.add_metric([model, str(version), event], count)
        yield events

    def render(self) -> bytes:
        """The text of the scrape, of type `CONTENT_TYPE`."""
        return generate_latest(self)

    def _collect_counters(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "gateway_requests", "Finished requests; cause says whose doing the outcome was.", labels=_REQUEST_LABELS
        )
        for (series, cause, status_class), count in self._requests.outcomes.items():
            requests.add_metric([*self._labels(series), _name(Cause, cause), f"{status_class}xx"], count)
        yield requests
        for name, text, attribute, scale in (
            ("rows", "Rows predicted: the sum of batch dimensions.", "rows", 1.0),
            ("received_bytes", "Bytes of requests.", "bytes_in", 1.0),
            ("sent_bytes", "Bytes of answers.", "bytes_out", 1.0),
            ("upstream_seconds", "Time spent waiting for Triton.", "upstream_us", 1e-6),
        ):
            family = CounterMetricFamily(f"gateway_{name}", text, labels=_SERIES_LABELS)
            for series, sums in self._requests.sums.items():
                family.add_metric(self._labels(series), getattr(sums, attribute) * scale)
            yield family

    def _durations(self) -> Metric:
        family = HistogramMetricFamily(
            "gateway_request_duration_seconds",
            "From the first byte of a request to the last of its answer; buckets are at most 10 % wide.",
            labels=_SERIES_LABELS,
        )
        for series, counts in self._requests.durations.items():
            buckets = list(zip(_BOUNDS, map(float, accumulate(counts)), strict=True))
            family.add_metric(self._labels(series), buckets, self._requests.sums[series].duration_us / 1e6)
        return family

    def _collect_levels(self) -> Iterator[Metric]:
        levels = self._levels
        for name, text, value in (
            ("snapshot_revision", "Revision of the orders in force.", levels.snapshot_revision),
            ("snapshot_age_seconds", "Since the control plane last confirmed the orders.", levels.snapshot_age_s),
            ("workers", "Worker processes that should run.", levels.workers),
            ("workers_ready", "Worker processes that listen.", levels.workers_ready),
            ("requests_in_flight", "Requests begun and not finished.", levels.in_flight),
            ("connections", "Open client connections.", levels.connections),
            ("usage_unshipped_records", "Requests the control plane has not counted yet.", levels.unshipped_records),
        ):
            yield GaugeMetricFamily(f"gateway_{name}", text, value=value)
        yield CounterMetricFamily("gateway_worker_restarts", "Workers replaced.", value=levels.worker_restarts)
        yield CounterMetricFamily(
            "gateway_usage_shipped_records", "Requests the control plane has counted.", value=levels.shipped_records
        )
        up = GaugeMetricFamily(
            "gateway_upstream_up", "0 while a worker's last attempt on this Triton failed.", labels=["server", "pool"]
        )
        for upstream in levels.upstreams:
            up.add_metric([upstream.name, upstream.pool], float(upstream.up))
        yield up

    def _collect_statistics(self) -> Iterator[Metric]:
        for name, text, attribute in (
            ("inferences", "Rows inferred by a Triton.", "inferences"),
            ("executions", "Batches run by a Triton.", "executions"),
            ("queue_seconds", "Time spent in a Triton's queue.", "queue_s"),
            ("compute_seconds", "Time spent inferring in a Triton.", "compute_s"),
        ):
            counter = CounterMetricFamily(f"gateway_triton_{name}", text, labels=_TRITON_LABELS)
            for one in self._statistics:
                counter.add_metric([one.server, one.model, str(one.version)], getattr(one, attribute))
            yield counter
        for name, text, attribute in (
            ("batch_size", "Mean rows of a batch in the last interval.", "batch_size"),
            ("queue_length", "Mean requests in the queue in the last interval.", "queue_length"),
        ):
            gauge = GaugeMetricFamily(f"gateway_triton_{name}", text, labels=_TRITON_LABELS)
            for one in self._statistics:
                gauge.add_metric([one.server, one.model, str(one.version)], getattr(one, attribute))
            yield gauge

    def _labels(self, series: Series) -> list[str]:
        model = self._model_names.get(series.model, str(series.model)) if series.model else ""
        version = str(series.version) if series.version else ""
        return [model, version, _name(Arm, series.arm), _name(Protocol, series.protocol)]


def _name(kind: type[Arm] | type[Cause] | type[Protocol], value: int) -> str:
    try:
        return kind(value).name.lower()
    except ValueError:  # a record of another release
        return str(value)
