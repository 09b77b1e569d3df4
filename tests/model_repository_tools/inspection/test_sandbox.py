import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from model_repository_tools.inspection import Limits, OnnxInspection, inspect_onnx, inspect_untrusted
from tests.model_repository_tools.graphs import field, save_double, tensor, varint

MIB = 1 << 20


def codes(inspection: OnnxInspection) -> list[str]:
    return [finding.code for finding in inspection.findings]


@pytest.fixture
def slow_model(tmp_path: Path) -> Path:
    """A model of 20 million empty nodes: small on disk, long to read."""
    path = tmp_path / "slow.onnx"
    path.write_bytes(field(7, b"\x0a\x00" * 20_000_000))
    return path


def test_a_sound_model_gives_the_same_as_without_a_child(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    assert inspect_untrusted(path) == inspect_onnx(path)


def test_a_relative_path_means_the_same_file_to_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_double(tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    assert inspect_untrusted(Path("m.onnx")).is_servable


def test_garbage_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(os.urandom(100_000))
    assert codes(inspect_untrusted(tmp_path / "m.onnx")) == ["onnx.not_a_model"]


def test_a_missing_file_a_folder_and_a_pipe_are_findings(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe"):
        assert codes(inspect_untrusted(tmp_path / name)) == ["inspection.unreadable"]


def test_a_model_of_a_gibibyte_is_read_in_64_mebibytes(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    weights = 1 << 30
    # graph.initializer.raw_data, as a hole in the file
    raw = varint(9 << 3 | 2) + varint(weights)
    initializer = varint(5 << 3 | 2) + varint(len(raw) + weights) + raw
    output = field(12, tensor("y", ["b"]).SerializeToString())
    head = b"\x08\x08" + varint(7 << 3 | 2) + varint(len(output) + len(initializer) + weights) + output + initializer
    path.write_bytes(head)
    os.truncate(path, len(head) + weights)
    inspection = inspect_untrusted(path, Limits(memory_bytes=64 * MIB))
    assert inspection.findings == ()
    assert inspection.weight_bytes == weights


def test_a_model_that_needs_more_memory_than_allowed_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    head = varint(6 << 3 | 2) + varint(200 * MIB)  # doc_string
    path.write_bytes(head)
    os.truncate(path, len(head) + 200 * MIB)
    assert codes(inspect_untrusted(path, Limits(memory_bytes=64 * MIB))) == ["inspection.out_of_memory"]


def test_a_graph_that_is_large_without_its_weights_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    head = varint(6 << 3 | 2) + varint(300 * MIB)
    path.write_bytes(head)
    os.truncate(path, len(head) + 300 * MIB)
    assert codes(inspect_untrusted(path)) == ["onnx.graph_too_large"]


def test_a_model_that_takes_too_much_processor_time_is_a_finding(slow_model: Path) -> None:
    assert codes(inspect_untrusted(slow_model, Limits(cpu_s=1))) == ["inspection.cpu_limit"]


def test_a_model_that_takes_too_long_is_a_finding(slow_model: Path) -> None:
    begin = time.monotonic()
    assert codes(inspect_untrusted(slow_model, Limits(wall_s=0.5))) == ["inspection.timed_out"]
    assert time.monotonic() - begin < 5


def test_a_report_over_its_limit_is_a_finding(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    assert codes(inspect_untrusted(path, Limits(report_bytes=100))) == ["inspection.report_too_large"]


def test_a_file_over_its_limit_is_a_finding(tmp_path: Path) -> None:
    path = save_double(tmp_path / "m.onnx")
    assert codes(inspect_untrusted(path, Limits(file_bytes=10))) == ["onnx.too_large"]


def children() -> Iterator[psutil.Process]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        yield from psutil.Process().children()
        os.sched_yield()


def test_a_child_that_is_killed_is_a_finding_and_had_no_secrets(
    slow_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    results: list[OnnxInspection] = []
    thread = threading.Thread(target=lambda: results.append(inspect_untrusted(slow_model)))
    thread.start()
    child = next(child for child in children() if "model_repository_tools.sandbox.child" in child.cmdline())
    environment = child.environ()
    child.kill()
    thread.join()
    assert codes(results[0]) == ["inspection.killed"]
    assert "DATABASE_PASSWORD" not in environment
