"""Running the server of the nvidia-pytriton wheel: what it needs, what it lets in, what it leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
from tritonclient.utils import InferenceServerException

from deploy.embedded import triton as embedded
from deploy.embedded.triton import TritonEnvironment, TritonPorts, TritonUnavailableError
from tests.support.triton import ControlError, StartTriton, TritonServer, wait_until
from tests.triton_models import graphs

SECRET = "0123456789abcdef"
PORTS = TritonPorts(http=1, grpc=2, metrics=3)
RESTRICTED_PATHS = (
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/open/load"),
    ("POST", "/v2/repository/models/open/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("GET", "/v2/trace/setting"),
    ("GET", "/v2/logging"),
)


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A Python environment without Triton."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv"


@pytest.fixture(scope="session")
def open_model(triton: TritonServer) -> str:
    triton.add_model("open", graphs.identity_config(), {"1/model.onnx": graphs.identity()})
    triton.load("open")
    return "open"


def add_identity(server: TritonServer, name: str, more: str = "") -> None:
    server.add_model(name, graphs.identity_config(more=more), {"1/model.onnx": graphs.identity()})
    server.load(name)


def answers(server: TritonServer, model: str) -> bool:
    body = {"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    response = httpx.post(f"{server.http_url}/v2/models/{model}/infer", json=body, trust_env=False)
    return response.status_code == httpx.codes.OK and response.json()["outputs"][0]["data"] == [1, 2]


def command(
    environment: TritonEnvironment,
    directory: Path,
    *,
    repository: Path | str | None = None,
    control_secret: str | Path = SECRET,
    s3_environment: dict[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    return embedded.command(
        environment,
        repository=repository or directory / "repository",
        backends=directory / "backends",
        home=directory,
        ports=PORTS,
        control_secret=control_secret,
        memory_prefix=embedded.shared_memory_prefix(directory),
        s3_environment=s3_environment,
    )


def test_a_missing_environment_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(TritonUnavailableError, match=r"there is no Python environment in .*: run `make up`"):
        TritonEnvironment.from_venv(tmp_path / "nowhere")


def test_an_environment_without_the_server_says_what_to_run(venv: Path) -> None:
    with pytest.raises(TritonUnavailableError, match=r"has no tritonserver \(package nvidia-pytriton\): run `make up`"):
        TritonEnvironment.from_venv(venv)


def test_a_server_without_a_stub_for_this_python_says_which_python_to_take(venv: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    server = venv / "lib" / f"python{version}" / "site-packages" / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    server.parent.mkdir(parents=True)
    server.touch()
    with pytest.raises(TritonUnavailableError, match=f"for Python {version}: make the environment with Python 3.11"):
        TritonEnvironment.from_venv(venv)


def test_backends_can_be_assembled_again(triton_environment: TritonEnvironment, tmp_path: Path) -> None:
    target = tmp_path / "backends"
    for _ in range(2):
        assert embedded.assemble_backends(triton_environment, target) == target
        assert os.access(target / "python" / "triton_python_backend_stub", os.X_OK)
        assert (target / "onnxruntime" / "model.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["backends"]


def test_the_server_gets_nothing_of_our_environment(triton: TritonServer) -> None:
    variables = Path(f"/proc/{triton.pid}/environ").read_text().rstrip("\0").split("\0")
    assert {variable.partition("=")[0] for variable in variables} == {"HOME", "PATH", "LD_LIBRARY_PATH"}


def test_s3_credentials_are_passed_on_and_nothing_else(triton_environment: TritonEnvironment, tmp_path: Path) -> None:
    address = "s3://http://127.0.0.1:9000/bucket/prefix"
    arguments, variables = command(
        triton_environment, tmp_path, repository=address, s3_environment={"AWS_ACCESS_KEY_ID": "key"}
    )
    assert f"--model-repository={address}" in arguments
    assert variables["AWS_ACCESS_KEY_ID"] == "key"
    with pytest.raises(TritonUnavailableError, match=r"only AWS_\* variables may be passed to Triton, not TOKEN"):
        command(triton_environment, tmp_path, s3_environment={"TOKEN": "x"})


def test_the_control_secret_may_come_from_a_file(triton_environment: TritonEnvironment, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    assert command(triton_environment, tmp_path, control_secret=tmp_path / "secret") == command(
        triton_environment, tmp_path
    )


@pytest.mark.parametrize("secret", ["", "short", "sixteen-and-more,letters", "sixteen-and-more letters"])
def test_a_secret_that_triton_would_misread_is_refused(
    secret: str, triton_environment: TritonEnvironment, tmp_path: Path
) -> None:
    with pytest.raises(TritonUnavailableError, match="the control secret must be"):
        command(triton_environment, tmp_path, control_secret=secret)


@pytest.mark.parametrize("name", ["my models", "$(reboot)", "a;b", "a'b"])
def test_a_path_that_a_shell_would_misread_is_refused(
    name: str, triton_environment: TritonEnvironment, tmp_path: Path
) -> None:
    with pytest.raises(TritonUnavailableError, match=r"Triton hands .* to a shell unquoted"):
        command(triton_environment, tmp_path, repository=tmp_path / name)


@pytest.mark.parametrize(("method", "path"), RESTRICTED_PATHS)
def test_the_control_api_over_http_needs_the_secret(
    method: str, path: str, triton: TritonServer, open_model: str
) -> None:
    url = f"{triton.http_url}{path}"
    wrong = {embedded.CONTROL_HEADER: "another-secret-of-16"}
    assert httpx.request(method, url, trust_env=False).status_code == httpx.codes.FORBIDDEN
    assert httpx.request(method, url, headers=wrong, trust_env=False).status_code == httpx.codes.FORBIDDEN
    if not path.endswith("unload"):
        right = httpx.request(method, url, headers=triton.control_headers, trust_env=False)
        assert right.status_code == httpx.codes.OK, right.text


def test_the_control_api_over_grpc_needs_the_secret(triton: TritonServer, open_model: str) -> None:
    with grpc_client.InferenceServerClient(triton.grpc_url) as client:
        for call in (client.get_model_repository_index, client.get_trace_settings, client.get_log_settings):
            with pytest.raises(InferenceServerException) as refusal:
                call()
            assert refusal.value.status() == "StatusCode.UNAVAILABLE"
            call(headers={embedded.CONTROL_METADATA_KEY: triton.control_secret})
        with pytest.raises(InferenceServerException):
            client.unload_model(open_model)
        client.load_model(open_model, headers={embedded.CONTROL_METADATA_KEY: triton.control_secret})


def test_inference_and_health_need_no_secret(triton: TritonServer, open_model: str) -> None:
    assert httpx.get(f"{triton.http_url}/v2/health/live", trust_env=False).status_code == httpx.codes.OK
    assert "nv_inference_count" in httpx.get(triton.metrics_url, trust_env=False).text
    assert answers(triton, open_model)
    with grpc_client.InferenceServerClient(triton.grpc_url) as client:
        tensor = grpc_client.InferInput("X", [1, 2], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 2), dtype=np.float32))
        np.testing.assert_array_equal(client.infer(open_model, [tensor]).as_numpy("Y"), np.ones((1, 2)))


def test_a_server_listens_on_loopback_only(triton: TritonServer) -> None:
    ports = {
        int(url.rstrip("/metrics").rpartition(":")[2]) for url in (triton.http_url, triton.grpc_url, triton.metrics_url)
    }
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {
        address
        for _, local, _, state, *_ in listening
        for address, port in [local.split(":")]
        if state == "0A" and int(port, 16) in ports
    }
    assert addresses == {"0100007F"}


def test_a_model_without_config_is_not_there(triton: TritonServer) -> None:
    (triton.repository / "half_published" / "1").mkdir(parents=True)
    (triton.repository / "half_published" / "1" / "model.onnx").write_bytes(graphs.identity())
    with pytest.raises(ControlError, match="failed to poll from model repository"):
        triton.load("half_published")


def test_the_leftovers_of_a_killed_server_are_removed_and_no_others(
    triton: TritonServer, open_model: str, start_triton: StartTriton
) -> None:
    killed = start_triton()
    add_identity(killed, "left_behind")
    stubs_of_the_other = embedded.stub_pids(triton.memory_prefix)
    regions_of_the_other = embedded.shared_memory_regions(triton.memory_prefix)
    killed.kill()
    assert embedded.shared_memory_regions(killed.memory_prefix)
    embedded.kill_stubs(killed.memory_prefix)
    wait_until(lambda: not embedded.stub_pids(killed.memory_prefix), what="the stubs are gone", timeout_s=10)
    assert embedded.remove_shared_memory(killed.memory_prefix) > 0
    assert not embedded.shared_memory_regions(killed.memory_prefix)
    assert embedded.stub_pids(triton.memory_prefix) == stubs_of_the_other
    assert embedded.shared_memory_regions(triton.memory_prefix) == regions_of_the_other
    assert answers(triton, open_model)


def test_a_restarted_server_loads_what_lies_in_its_repository_past_a_broken_model(start_triton: StartTriton) -> None:
    server = start_triton(response_cache_bytes=1 << 20)
    add_identity(server, "cached", more="response_cache { enable: true }")
    server.add_model("broken", graphs.identity_config(), {"1/model.onnx": b"not a model"})
    server.restart()
    server.wait_ready("cached", 1)
    assert all(answers(server, "cached") for _ in range(2))
    statistics = httpx.get(f"{server.http_url}/v2/models/cached/stats", trust_env=False).json()["model_stats"][0]
    assert statistics["inference_stats"]["cache_hit"]["count"] == 1
    assert {entry["name"]: entry["state"] for entry in server.index()} == {"cached": "READY", "broken": "UNAVAILABLE"}


def test_a_server_that_is_asked_to_stop_leaves_nothing_behind(start_triton: StartTriton) -> None:
    server = start_triton()
    add_identity(server, "stopped")
    server.stop()
    assert not embedded.stub_pids(server.memory_prefix)
    assert not embedded.shared_memory_regions(server.memory_prefix)


def test_each_owner_has_a_memory_prefix_of_its_own(tmp_path: Path) -> None:
    prefix = embedded.shared_memory_prefix(tmp_path)
    assert prefix == embedded.shared_memory_prefix(tmp_path)
    assert prefix != embedded.shared_memory_prefix(tmp_path / "other")
