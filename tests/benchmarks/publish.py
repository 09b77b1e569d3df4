"""From asking for a publication to a version that is proven: what we add to Triton's own work and to the disk's.

``python -m tests.benchmarks.publish`` starts the embedded stack, publishes versions of a 100 MB model through the REST
API and its worker, and takes off what does not depend on us: how long this Triton needs to load the same model when it
is asked directly, and how long reading and hashing, and copying, 100 MB take here.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deploy.embedded.triton import CONTROL_HEADER
from tests.benchmarks.report import Figure, Section, machine, write_section
from tests.support.stack import Stack, running_stack
from tests.support.triton import wait_until

MODEL = "weighty"
WEIGHTS = 25_000_000
"""Numbers of four bytes: 100 MB."""
ROUNDS = 5
LIMIT_S = 0.5
STEPS_THAT_HASH = ("stage", "verify", "commit")
PUBLISH_TIMEOUT_S = 120


def graph(seed: int) -> bytes:
    """``y = x + sum of the weights of one of 1000 rows``, with 100 MB of weights that differ from seed to seed."""
    weights = np.full((1000, WEIGHTS // 1000), float(seed), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["weights", "row"], ["chosen"], axis=0),
        helper.make_node("ReduceSum", ["chosen"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "weighty",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
            [
                numpy_helper.from_array(weights, "weights"),
                numpy_helper.from_array(np.array(7, dtype=np.int64), "row"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def publish(stack: Stack, number: int) -> dict[str, Any]:
    """Uploads a version, publishes it, and returns its publication."""
    semver = f"1.0.{number}"
    headers = {"Authorization": f"Bearer {stack.values['ADMIN_TOKEN']}"}
    path = f"{stack.values['CONTROL_URL']}/api/models/{MODEL}/versions"
    files = {"file": ("model.onnx", graph(number))}
    uploaded = httpx.post(path, headers=headers, data={"semver": semver}, files=files, timeout=PUBLISH_TIMEOUT_S)
    uploaded.raise_for_status()
    place = stack.control("POST", f"/api/models/{MODEL}/versions/{semver}/publish").headers["Location"]
    wait_until(
        lambda: stack.control("GET", place).json()["state"] not in {"queued", "running"},
        what="the version is published",
        timeout_s=PUBLISH_TIMEOUT_S,
    )
    publication: dict[str, Any] = stack.control("GET", place).json()
    if publication["state"] != "succeeded":
        raise RuntimeError(publication["error"])
    return publication


def load_time_s(stack: Stack, number: int) -> float:
    """How long Triton itself needs to load a version that is in its repository."""
    secret = (stack.state_dir / "secrets" / "triton_control").read_text().strip()
    base = f"{stack.values['TRITON_URL']}/v2"
    name = f"{MODEL}.v{number}"
    with httpx.Client(headers={CONTROL_HEADER: secret}, timeout=PUBLISH_TIMEOUT_S, trust_env=False) as triton:
        triton.post(f"{base}/repository/models/{name}/unload", json={}).raise_for_status()
        wait_until(
            lambda: all(
                entry.get("reason") == "unloaded"
                for entry in triton.post(f"{base}/repository/index", json={}).json()
                if entry["name"] == name
            ),
            what="it is unloaded",
            timeout_s=PUBLISH_TIMEOUT_S,
        )
        started = time.perf_counter()
        triton.post(f"{base}/repository/models/{name}/load", json={}).raise_for_status()
        return time.perf_counter() - started


def hash_time_s(folder: Path) -> float:
    """How long reading and hashing 100 MB takes here; the median of some."""
    file = folder / "hundred-megabytes"
    file.write_bytes(bytes(4 * WEIGHTS))

    def once() -> float:
        started = time.perf_counter()
        with file.open("rb", buffering=0) as opened:
            hashlib.file_digest(opened, "sha256")
        return time.perf_counter() - started

    return statistics.median(once() for _ in range(ROUNDS))


def total_s(publication: dict[str, Any]) -> float:
    """From the answer to who asked until the version is open to requests."""
    created, finished = (datetime.fromisoformat(publication[name]) for name in ("created_at", "finished_at"))
    return (finished - created).total_seconds()


def steps_s(publication: dict[str, Any], *names: str) -> float:
    """How long some of its steps took together."""
    return sum(float(step["duration_s"]) for step in publication["steps"] if step["step"] in names)


@dataclass(frozen=True)
class Round:
    """One publication. What is taken off is never more than the steps it was part of took."""

    total_s: float
    load_s: float
    hashing_s: float

    @property
    def ours_s(self) -> float:
        return self.total_s - self.load_s - self.hashing_s


def measure(stack: Stack, folder: Path, number: int) -> Round:
    """Publishes a version, and then does alone what Triton and the disk did of it."""
    publication = publish(stack, number)
    return Round(
        total_s(publication),
        min(load_time_s(stack, number), steps_s(publication, "load")),
        min(hash_time_s(folder) * len(STEPS_THAT_HASH), steps_s(publication, *STEPS_THAT_HASH)),
    )


def main() -> None:
    """Measures and writes the section."""
    with tempfile.TemporaryDirectory(prefix="publish-") as folder, running_stack(Path(folder) / "var") as stack:
        stack.control("POST", "/api/models", json={"slug": MODEL})
        rounds = [measure(stack, Path(folder), number) for number in range(1, ROUNDS + 1)]
    total, load, hashing, ours = (
        statistics.median(getattr(each, name) for each in rounds)
        for name in ("total_s", "load_s", "hashing_s", "ours_s")
    )
    write_section(
        Section(
            "Publishing a 100 MB model",
            "python -m tests.benchmarks.publish",
            machine(),
            [
                Figure("asked for -> proven and routable, median", f"{total:.2f} s", ""),
                Figure("of that, Triton's own load", f"{load:.2f} s", ""),
                Figure(f"of that, {len(STEPS_THAT_HASH)} times reading and hashing it", f"{hashing:.2f} s", ""),
                Figure("what is left is ours, median", f"{ours:.2f} s", f"{LIMIT_S} s"),
                Figure("what is left is ours, worst", f"{max(each.ours_s for each in rounds):.2f} s", ""),
            ],
        )
    )


if __name__ == "__main__":
    main()
