import os
import signal
import socket
import stat
import threading
import time
import urllib.error
from pathlib import Path

import psutil

from controlplane.gateway.journal.reader import find_journals
from controlplane.wire.snapshot import ModelEntry, ServerEntry
from tests.controlplane.gateway.agent.conftest import StartGateway, eventually
from tests.controlplane.gateway.agent.control_stand_in import ControlStandIn


def test_workers_get_their_orders_and_every_change_to_them(
    control: ControlStandIn, start_gateway: StartGateway
) -> None:
    gateway = start_gateway().wait_until_ready()
    assert gateway.ask()["keys"] == ["first"]
    control.set_key("second")
    eventually(lambda: gateway.all_workers_at(2), within_s=2)
    assert gateway.ask()["keys"] == ["first", "second"]
    control.set_entry("key", "first", None)
    eventually(lambda: gateway.all_workers_at(3), within_s=2)
    assert gateway.ask()["keys"] == ["second"]


def test_the_control_plane_hears_of_a_revision_only_after_every_worker_applied_it(
    control: ControlStandIn, start_gateway: StartGateway
) -> None:
    gateway = start_gateway().wait_until_ready()
    too_early: list[int] = []

    def on_poll(since: int) -> None:
        if any(gateway.ask()["revision"] < since for _ in range(4)):
            too_early.append(since)

    control.on_poll = on_poll
    for number in range(5):
        control.set_key(f"key-{number}")
        eventually(lambda: control.revision in control.polls)
    assert not too_early


def test_a_killed_worker_is_replaced_at_once_and_knows_the_current_orders(
    control: ControlStandIn, start_gateway: StartGateway
) -> None:
    gateway = start_gateway().wait_until_ready()
    control.set_key("second")
    eventually(lambda: gateway.all_workers_at(2))
    victim = gateway.ask()["pid"]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in {process.pid for process in gateway.worker_processes()})
    eventually(lambda: gateway.status("/ready")[1]["workers"] == {"configured": 2, "ready": 2, "restarts": 1})
    assert gateway.all_workers_at(2)
    assert gateway.metric("gateway_worker_restarts_total") == 1


def test_what_a_killed_worker_answered_is_counted(control: ControlStandIn, start_gateway: StartGateway) -> None:
    gateway = start_gateway().wait_until_ready()
    pids = [gateway.ask()["pid"] for _ in range(20)]
    os.kill(pids[-1], signal.SIGKILL)
    eventually(lambda: control.counted["requests"] == 20)
    eventually(lambda: gateway.metric("gateway_usage_shipped_records_total") == 20)
    assert gateway.metric("gateway_usage_unshipped_records") == 0


def test_lost_and_refused_deliveries_are_repeated_and_counted_once(
    control: ControlStandIn, start_gateway: StartGateway
) -> None:
    control.usage_faults = ["drop", "refuse"]
    gateway = start_gateway().wait_until_ready()
    for _ in range(10):
        gateway.ask()
    eventually(lambda: gateway.metric("gateway_usage_shipped_records_total") == 10, within_s=15)
    assert control.counted["requests"] == 10
    assert control.duplicates >= 1
    assert gateway.logged("Usage cannot be delivered; it is kept on disk.")


def test_a_gateway_starts_and_serves_while_the_control_plane_is_down(
    control: ControlStandIn, start_gateway: StartGateway, gateway_environment: dict[str, str]
) -> None:
    first = start_gateway().wait_until_ready()
    control.set_key("second")
    eventually(lambda: first.all_workers_at(2))
    control.stop()
    first.ask()
    assert first.end() == 0

    lkg = Path(gateway_environment["GATEWAY_STATE_DIR"]) / "snapshot.lkg"
    assert stat.S_IMODE(lkg.stat().st_mode) == 0o600
    os.utime(lkg, (time.time() - 100, time.time() - 100))

    second = start_gateway().wait_until_ready()
    assert second.ask()["keys"] == ["first", "second"]
    assert 100 <= second.status("/ready")[1]["orders"]["age_s"] < 120
    assert 100 <= second.metric("gateway_snapshot_age_seconds") < 120
    assert time.time() - second.ask()["confirmed_at_s"] > 99
    eventually(lambda: second.logged("The orders cannot be refreshed; serving goes on with those we have."))

    control.start()
    eventually(lambda: second.logged("The orders are current again."))
    eventually(lambda: control.counted["requests"] >= 1)
    assert second.status("/ready")[1]["orders"]["age_s"] < 10
    eventually(lambda: time.time() - second.ask()["confirmed_at_s"] < 10)


def test_orders_that_are_too_old_make_the_gateway_not_ready(
    control: ControlStandIn, start_gateway: StartGateway, gateway_environment: dict[str, str]
) -> None:
    start_gateway().wait_until_ready().end()
    control.stop()
    lkg = Path(gateway_environment["GATEWAY_STATE_DIR"]) / "snapshot.lkg"
    os.utime(lkg, (time.time() - 100, time.time() - 100))
    gateway = start_gateway(GATEWAY_MAX_ORDERS_AGE_S="60").wait_for_start()
    eventually(lambda: gateway.status("/live")[1]["workers"]["ready"] == 2)
    status, body = gateway.status("/ready")
    assert (status, body["reason"]) == (503, "the orders are older than GATEWAY_MAX_ORDERS_AGE_S")
    assert gateway.status("/live")[0] == 200


def test_orders_on_disk_that_were_tampered_with_are_not_obeyed(
    control: ControlStandIn, start_gateway: StartGateway, gateway_environment: dict[str, str]
) -> None:
    start_gateway().wait_until_ready().end()
    control.stop()
    lkg = Path(gateway_environment["GATEWAY_STATE_DIR"]) / "snapshot.lkg"
    lkg.write_bytes(lkg.read_bytes().replace(b"first", b"fifth"))
    gateway = start_gateway().wait_for_start()
    eventually(lambda: gateway.status("/live")[1]["workers"]["ready"] == 2)
    status, body = gateway.status("/ready")
    assert (status, body["reason"], body["orders"]["age_s"]) == (503, "no orders from the control plane yet", None)
    assert gateway.ask()["keys"] == []
    assert gateway.logged("Part of the last known good orders is not usable.")

    control.start()
    eventually(lambda: gateway.status("/ready")[0] == 200)
    eventually(lambda: gateway.all_workers_at(1))


def test_a_bad_signature_is_not_obeyed_and_a_base_is_asked_for(
    control: ControlStandIn, start_gateway: StartGateway
) -> None:
    gateway = start_gateway().wait_until_ready()
    eventually(lambda: 1 in control.polls)
    control.tamper = lambda envelope: bytes(64) + envelope[64:]
    polls_before = len(control.polls)
    control.set_key("forged")
    eventually(lambda: 0 in control.polls[polls_before:])
    assert gateway.all_workers_at(1)
    assert gateway.ask()["keys"] == ["first"]
    control.tamper = lambda envelope: envelope
    eventually(lambda: gateway.all_workers_at(2))


def test_a_gap_is_not_obeyed_and_a_base_is_asked_for(control: ControlStandIn, start_gateway: StartGateway) -> None:
    gateway = start_gateway().wait_until_ready()
    eventually(lambda: 1 in control.polls)
    polls_before = len(control.polls)
    control.skip_revisions = 5
    control.set_key("second")
    eventually(lambda: 0 in control.polls[polls_before:])
    control.skip_revisions = 0
    eventually(lambda: gateway.ask()["keys"] == ["first", "second"])


def test_another_control_plane_replaces_the_orders(control: ControlStandIn, start_gateway: StartGateway) -> None:
    gateway = start_gateway().wait_until_ready()
    with control.changed:
        control.instance, control.revision = "control-2", 0
        control.entries.clear()
    control.set_key("other")
    eventually(lambda: all(gateway.ask()["keys"] == ["other"] for _ in range(6)))


def test_a_token_that_is_not_accepted_is_logged_and_serving_goes_on(
    control: ControlStandIn, start_gateway: StartGateway
) -> None:
    gateway = start_gateway().wait_until_ready()
    control.token = "another"
    trouble = "The orders cannot be refreshed; serving goes on with those we have."
    (line,) = eventually(lambda: gateway.logged(trouble))
    assert "token" in line["reason"]
    assert gateway.ask()["keys"] == ["first"]


def test_a_stopped_gateway_has_shipped_everything_and_left_nothing(
    control: ControlStandIn, start_gateway: StartGateway, gateway_environment: dict[str, str]
) -> None:
    gateway = start_gateway().wait_until_ready()
    workers = gateway.worker_processes()
    for _ in range(7):
        gateway.ask()
    assert gateway.end() == 0
    assert control.counted["requests"] == 7
    assert find_journals(Path(gateway_environment["GATEWAY_STATE_DIR"]) / "journals") == []
    assert not any(worker.is_running() for worker in workers)
    assert gateway.errors == []


def test_workers_end_with_a_killed_agent_and_the_next_one_ships_what_they_counted(
    control: ControlStandIn, start_gateway: StartGateway
) -> None:
    first = start_gateway().wait_until_ready()
    workers = first.worker_processes()
    answered = 0
    stop = threading.Event()

    def load() -> None:
        nonlocal answered
        while not stop.is_set():
            try:
                first.ask()
            except (urllib.error.URLError, ConnectionError):
                return
            answered += 1

    loader = threading.Thread(target=load)
    loader.start()
    eventually(lambda: control.counted["requests"] >= 20)
    first.end(signal.SIGKILL)
    loader.join()
    assert psutil.wait_procs(workers, timeout=5)[1] == []
    stop.set()

    start_gateway().wait_until_ready()
    # One request may have been recorded whose answer its client did not live to see.
    eventually(lambda: control.counted["requests"] in {answered, answered + 1})


def test_metrics_count_requests_by_model_and_outcome(control: ControlStandIn, start_gateway: StartGateway) -> None:
    control.set_entry("model", "digits", ModelEntry(7, "digits"))
    control.set_entry("server", "5", ServerEntry(5, "triton-1", "default", "127.0.0.1:1", "127.0.0.1:2"))
    gateway = start_gateway().wait_until_ready()
    for _ in range(3):
        gateway.ask()
    labels = 'arm="stable",cause="ok",model="digits",protocol="http_v2",status="2xx",version="3"'
    eventually(lambda: gateway.metric(f"gateway_requests_total{{{labels}}}") == 3)
    series = 'arm="stable",model="digits",protocol="http_v2",version="3"'
    assert gateway.metric(f"gateway_rows_total{{{series}}}") == 3
    assert gateway.metric(f"gateway_request_duration_seconds_count{{{series}}}") == 3
    assert gateway.metric("gateway_snapshot_revision") == 3
    eventually(lambda: gateway.metric("gateway_requests_in_flight") == 4)
    assert gateway.metric("gateway_connections") == 6
    assert gateway.metric('gateway_upstream_up{pool="default",server="triton-1"}') == 0


def test_a_taken_port_is_a_clear_error(start_gateway: StartGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        gateway = start_gateway("controlplane.gateway", GATEWAY_HTTP_PORT=str(port))
        assert gateway.process.wait(15) == 1
    (line,) = eventually(lambda: gateway.logged("The gateway cannot start."))
    assert line["reason"] == (
        f"Port {port} on 127.0.0.1 is taken: stop what listens there, or set GATEWAY_HTTP_PORT to another port."
    )


def test_a_second_gateway_on_one_state_folder_is_a_clear_error(start_gateway: StartGateway) -> None:
    start_gateway().wait_until_ready()
    second = start_gateway("controlplane.gateway")
    assert second.process.wait(15) == 1
    (line,) = eventually(lambda: second.logged("The gateway cannot start."))
    assert line["reason"].startswith("Another gateway uses the state folder")


def test_a_missing_secret_and_a_wrong_setting_are_clear_errors(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = start_gateway("controlplane.gateway", GATEWAY_SECRETS_DIR=str(tmp_path / "nowhere"))
    assert gateway.process.wait(15) == 1
    (line,) = eventually(lambda: gateway.logged("The gateway cannot start."))
    assert line["reason"].startswith("The secret 'gateway_token' is missing")

    gateway = start_gateway("controlplane.gateway", GATEWAY_WORKERS="many")
    assert gateway.process.wait(15) == 2
    (line,) = eventually(lambda: gateway.logged("A setting is wrong."))
    assert line["reasons"][0].startswith("GATEWAY_WORKERS")
