"""The control plane's own metrics: how much of everything there is, and in which state, as the database has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from controlplane.audit.models import PendingChange
from controlplane.fleet.models import Placement, Publication, Server
from controlplane.registry.models import ModelVersion
from controlplane.snapshots.selectors import gateway_state, head_revision, list_gateways


class StateCollector(Collector):
    """Asks the database anew for each scrape: seven small queries."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics; those with a state have one sample for each state that occurs."""
        yield _by("controlplane_servers", "Servers by what was last seen of them.", Server, "health")
        yield _by("controlplane_versions", "Versions of models by state.", ModelVersion, "state")
        yield _by("controlplane_placements", "Versions on servers by state.", Placement, "state")
        yield _by("controlplane_publications", "Publications by state.", Publication, "state")
        yield _gauge("controlplane_snapshot_revision", "Revision of the snapshot.", [((), head_revision())])
        yield _gauge(
            "controlplane_snapshot_lag_seconds",
            "Age of the oldest change that the snapshot has not taken in; 0 where there is none.",
            [((), _lag_s())],
        )
        gateways = [((gateway.name, gateway_state(gateway)), gateway.revision) for gateway in list_gateways()]
        yield _gauge(
            "controlplane_gateway_revision", "Revision each gateway obeys.", gateways, labels=("gateway", "state")
        )


def _lag_s() -> float:
    oldest = PendingChange.objects.aggregate(oldest=Min("at"))["oldest"]
    return (timezone.now() - oldest).total_seconds() if oldest else 0.0


def _by(
    name: str, text: str, model: type[Server | ModelVersion | Placement | Publication], field: str
) -> GaugeMetricFamily:
    counts = model._default_manager.values_list(field).annotate(Count("pk")).order_by(field)
    return _gauge(name, text, [((str(value),), count) for value, count in counts], labels=(field,))


def _gauge(
    name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
