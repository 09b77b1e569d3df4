from math import inf

from prometheus_client.parser import text_string_to_metric_families

from controlplane.gateway.journal.sums import digest_records
from controlplane.gateway.metrics import GatewayCollector, Levels, RequestMetrics, Upstream
from tests.controlplane.gateway.journal.records import usage_record

LEVELS = Levels(
    snapshot_revision=12,
    snapshot_age_s=1.5,
    workers=2,
    workers_ready=1,
    worker_restarts=3,
    in_flight=4,
    connections=5,
    unshipped_records=6,
    shipped_records=7,
    upstreams=[Upstream("triton-1", "default", up=True), Upstream("triton-2", "default", up=False)],
)


def scrape(requests: RequestMetrics, levels: Levels = LEVELS) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = GatewayCollector(requests, levels, {7: "digits"}).render().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_records_become_counters_by_model_arm_cause_and_status() -> None:
    requests = RequestMetrics()
    requests.absorb(digest_records(usage_record() + usage_record(key=2) + usage_record(status=500, cause=1)))
    requests.absorb(digest_records(usage_record()))
    seen = scrape(requests)
    series = {"model": "digits", "version": "2", "arm": "stable", "protocol": "http_v2"}
    assert seen[sample("gateway_requests_total", **series, cause="ok", status="2xx")] == 3
    assert seen[sample("gateway_requests_total", **series, cause="model", status="5xx")] == 1
    assert seen[sample("gateway_received_bytes_total", **series)] == 400
    assert seen[sample("gateway_sent_bytes_total", **series)] == 200
    assert seen[sample("gateway_upstream_seconds_total", **series)] == 4 * 600e-6


def test_durations_become_a_cumulative_histogram() -> None:
    requests = RequestMetrics()
    durations = [1, 50, 51, 900, 2_000_000, 4_000_000_000]
    requests.absorb(digest_records(b"".join(usage_record(duration_us=us) for us in durations)))
    seen = scrape(requests)
    series = {"model": "digits", "version": "2", "arm": "stable", "protocol": "http_v2"}
    buckets = {
        float(dict(labels)["le"]): value for (name, labels), value in seen.items() if name.endswith("_seconds_bucket")
    }
    assert sorted(buckets.values()) == [buckets[bound] for bound in sorted(buckets)]
    assert buckets[0.00005] == 2
    assert buckets[0.000055] == 3
    assert buckets[inf] == 6
    assert seen[sample("gateway_request_duration_seconds_count", **series)] == 6
    assert seen[sample("gateway_request_duration_seconds_sum", **series)] == sum(durations) / 1e6


def test_a_request_without_a_model_and_a_model_without_a_name_are_counted_too() -> None:
    requests = RequestMetrics()
    requests.absorb(digest_records(usage_record(model=0, cause=4, status=401) + usage_record(model=99)))
    models = {dict(labels)["model"] for name, labels in scrape(requests) if name == "gateway_requests_total"}
    assert models == {"", "99"}


def test_levels_are_shown_as_they_are() -> None:
    seen = scrape(RequestMetrics())
    assert seen[sample("gateway_snapshot_revision")] == 12
    assert seen[sample("gateway_snapshot_age_seconds")] == 1.5
    assert seen[sample("gateway_workers_ready")] == 1
    assert seen[sample("gateway_worker_restarts_total")] == 3
    assert seen[sample("gateway_requests_in_flight")] == 4
    assert seen[sample("gateway_usage_unshipped_records")] == 6
    assert seen[sample("gateway_upstream_up", server="triton-1", pool="default")] == 1
    assert seen[sample("gateway_upstream_up", server="triton-2", pool="default")] == 0
