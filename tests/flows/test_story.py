"""The story of a user: a model is made, published, called by three clients, and its key is revoked."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.support.models import infer_body, scaling_graph, scaling_sample
from tests.support.stack import Stack
from tests.support.triton import wait_until

pytestmark = pytest.mark.timeout(300)


def make_model(stack: Stack, slug: str, *, factor: float = 2.0) -> None:
    """Registers a model and its version 1.0.0 over REST."""
    assert stack.control("POST", "/api/models", json={"slug": slug, "title": slug}).status_code == 201
    upload = upload_version(stack, slug, scaling_graph(factor), golden=[scaling_sample(factor)])
    assert upload.status_code == 201, upload.text


def upload_version(stack: Stack, slug: str, graph: bytes, *, golden: list[dict[str, Any]]) -> httpx.Response:
    return stack.control(
        "POST",
        f"/api/models/{slug}/versions",
        data={"semver": "1.0.0", "golden": json.dumps(golden)},
        files={"file": ("model.onnx", graph)},
    )


def publish(stack: Stack, slug: str) -> None:
    """Publishes version 1.0.0 and points the default alias at it."""
    stack.tritonctl("publish", f"{slug}@1.0.0", "--wait")
    moved = stack.control("PUT", f"/api/models/{slug}/aliases/production", json={"version": "1.0.0"})
    assert moved.status_code == 200, moved.text


def requests_counted(stack: Stack, slug: str) -> int:
    metrics = stack.control("GET", f"/api/models/{slug}/metrics").json()
    return int(metrics["metrics"]["requests_count"])


def test_a_model_goes_from_file_to_metered_predictions_by_three_clients(stack: Stack) -> None:
    make_model(stack, "story")
    publish(stack, "story")
    issued = json.loads(stack.tritonctl("key", "create", "story-client", "--json").stdout)
    key, headers = issued["secret"], {"authorization": f"Bearer {issued['secret']}"}
    wait_until(lambda: stack.infer("story", infer_body(), key=key).status_code == 200, what="served", timeout_s=5)
    before = requests_counted_settled(stack, "story")

    answer = stack.infer("story", infer_body(), key=key).json()
    assert (answer["model_name"], answer["model_version"]) == ("story", "1")
    assert answer["outputs"][0]["data"] == [0.0, 2.0, 4.0, 6.0]

    x = np.array([[1, 2, 3, 4]], dtype=np.float32)
    with triton_http.InferenceServerClient(stack.values["GATEWAY_URL"].removeprefix("http://")) as http_client:
        http_input = triton_http.InferInput("x", [1, 4], "FP32")
        http_input.set_data_from_numpy(x)
        result = http_client.infer("story", [http_input], headers=dict(headers))  # it writes into them
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * x)
        assert http_client.get_model_metadata("story", headers=headers)["name"] == "story"

    with triton_grpc.InferenceServerClient(stack.values["GATEWAY_GRPC"]) as grpc_client:
        grpc_input = triton_grpc.InferInput("x", [1, 4], "FP32")
        grpc_input.set_data_from_numpy(x)
        grpc_result = grpc_client.infer("story", [grpc_input], headers=headers)
        np.testing.assert_array_equal(grpc_result.as_numpy("y"), 2 * x)
        assert grpc_result.get_response().model_name == "story"
        assert grpc_client.get_model_metadata("story", headers=headers).name == "story"

    wait_until(
        lambda: requests_counted(stack, "story") == before + 3, what="the three requests are counted", timeout_s=10
    )

    revoked = stack.control("POST", f"/api/keys/{issued['id']}/revoke", json={"reason": "the story ends"})
    assert revoked.status_code == 200, revoked.text
    wait_until(lambda: stack.infer("story", infer_body(), key=key).status_code == 401, what="refused", timeout_s=1)


def requests_counted_settled(stack: Stack, slug: str) -> int:
    """What is counted once nothing more arrives: two equal looks, further apart than usage is shipped."""
    seen: list[tuple[float, int]] = []

    def settled() -> bool:
        now, count = time.monotonic(), requests_counted(stack, slug)
        if not seen or seen[-1][1] != count:
            seen.append((now, count))
        return now - seen[-1][0] > 2.5

    wait_until(settled, what="counting has settled", timeout_s=20)
    return seen[-1][1]


def test_the_printed_curl_gets_a_digits_class_probabilities(stack: Stack) -> None:
    import subprocess

    from tests.support.stack import deploy

    again = deploy(stack.environment, "up", "--detach", timeout_s=60)
    assert again.returncode == 0, again.stderr
    assert stack.values["CONTROL_URL"] in again.stdout
    curl = next(line for line in again.stdout.splitlines() if line.lstrip().startswith("curl "))
    answer = json.loads(subprocess.run(["bash", "-c", curl], capture_output=True, check=True, timeout=30).stdout)
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["probabilities"]["shape"] == [1, 10]
    assert sum(outputs["probabilities"]["data"]) == pytest.approx(1.0, abs=1e-4)


BAD_REQUESTS = [
    pytest.param("no-such-model", infer_body(), 404, "Request for unknown model", id="unknown model"),
    pytest.param("bad", {"inputs": scaling_sample(columns=5)["inputs"]}, 400, "x", id="wrong shape"),
    pytest.param(
        "bad",
        {"inputs": [{**infer_body()["inputs"][0], "datatype": "INT32", "data": [1, 2, 3, 4]}]},
        400,
        "x",
        id="wrong data type",
    ),
]


@pytest.fixture(scope="module")
def bad_model(stack: Stack) -> str:
    make_model(stack, "bad")
    publish(stack, "bad")
    wait_until(lambda: stack.infer("bad", infer_body()).status_code == 200, what="served", timeout_s=5)
    return "bad"


@pytest.mark.parametrize(("model", "body", "status", "text"), BAD_REQUESTS)
def test_a_bad_request_gets_tritons_form_of_error(
    stack: Stack, bad_model: str, model: str, body: dict[str, Any], status: int, text: str
) -> None:
    answer = stack.infer(model, body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert text in error
    assert ".v1" not in error, "the name inside Triton is nobody's business"


def test_a_body_that_is_not_json_and_a_missing_or_wrong_key_are_said_so(stack: Stack, bad_model: str) -> None:
    url = f"{stack.values['GATEWAY_URL']}/v2/models/{bad_model}/infer"
    key = {"Authorization": f"Bearer {stack.values['API_KEY']}"}
    wrong = {"Authorization": "Bearer tgk_live_000000000000_nothing"}
    not_json = httpx.post(url, content=b"{not json", headers=key)
    assert not_json.status_code == 400
    assert isinstance(not_json.json()["error"], str)
    for headers in ({}, wrong):
        refused = httpx.post(url, json=infer_body(), headers=headers)
        assert refused.status_code == 401
        assert "key" in refused.json()["error"].lower()


def test_grpc_says_the_same(stack: Stack, bad_model: str) -> None:
    with triton_grpc.InferenceServerClient(stack.values["GATEWAY_GRPC"]) as client:
        request = triton_grpc.InferInput("x", [1, 4], "FP32")
        request.set_data_from_numpy(np.zeros((1, 4), dtype=np.float32))
        with pytest.raises(InferenceServerException) as refused:
            client.infer(bad_model, [request])
        assert refused.value.status() == "StatusCode.UNAUTHENTICATED"
        with pytest.raises(InferenceServerException) as unknown:
            client.infer("no-such-model", [request], headers={"authorization": f"Bearer {stack.values['API_KEY']}"})
        assert unknown.value.status() == "StatusCode.NOT_FOUND"


def test_a_broken_graph_is_refused_at_upload_with_the_reason(stack: Stack) -> None:
    assert stack.control("POST", "/api/models", json={"slug": "garbage", "title": "Garbage"}).status_code == 201
    refused = upload_version(stack, "garbage", b"this is no graph", golden=[])
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["code"] == "artifact.refused"
    assert error["details"]["findings"]


def test_a_version_with_a_wrong_golden_answer_is_not_published(stack: Stack) -> None:
    assert stack.control("POST", "/api/models", json={"slug": "liar", "title": "Liar"}).status_code == 201
    assert upload_version(stack, "liar", scaling_graph(2.0), golden=[scaling_sample(3.0)]).status_code == 201
    failed = stack.tritonctl("publish", "liar@1.0.0", "--wait", check=False)
    assert failed.returncode == 1
    assert "olden request" in failed.stdout + failed.stderr
    assert stack.infer("liar", infer_body()).status_code == 404 or "liar" in stack.infer("liar", infer_body()).text


def test_no_secret_is_in_any_log(stack: Stack) -> None:
    text = stack.log()
    assert text
    secrets = {name: stack.values[name] for name in ("ADMIN_PASSWORD", "API_KEY", "ADMIN_TOKEN")}
    for path in (stack.state_dir / "secrets").iterdir():
        secrets[path.name] = path.read_text().strip()
    assert [name for name, secret in secrets.items() if secret in text] == []
