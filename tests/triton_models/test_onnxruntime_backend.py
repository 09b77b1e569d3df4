"""The stand-in for the native ONNX Runtime backend, inside the real server."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from onnx import helper
from tritonclient.utils import InferenceServerException

from deploy.embedded.triton import stub_pids
from tests.support.triton import TritonServer, wait_until
from tests.triton_models import graphs

Array = npt.NDArray[Any]

EXAMPLES: Mapping[str, Array] = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], dtype=np.uint8),
    "UINT16": np.array([[0, 65535]], dtype=np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], dtype=np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], dtype=np.uint64),
    "INT8": np.array([[-128, 127]], dtype=np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], dtype=np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], dtype=np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], dtype=np.int64),
    "FP16": np.array([[-1.5, 65504.0]], dtype=np.float16),
    "BF16": np.array([[-1.5, 256.0]], dtype=ml_dtypes.bfloat16),
    "FP32": np.array([[np.pi, np.inf]], dtype=np.float32),
    "FP64": np.array([[np.pi, -0.0]], dtype=np.float64),
    "STRING": np.array([["Größe".encode(), b"a\0b"]], dtype=np.object_),
}


def wire_type(data_type: str) -> str:
    return "BYTES" if data_type == "STRING" else data_type


def infer(
    server: TritonServer, model: str, inputs: Mapping[str, tuple[str, Array]], outputs: Sequence[str] = ()
) -> Mapping[str, Array]:
    """One request over HTTP, tensors in binary form; returns what came back."""
    with http_client.InferenceServerClient(server.http_address) as client:
        tensors = []
        for name, (data_type, values) in inputs.items():
            tensor = http_client.InferInput(name, list(values.shape), wire_type(data_type))
            tensor.set_data_from_numpy(values)
            tensors.append(tensor)
        wanted = [http_client.InferRequestedOutput(name) for name in outputs] or None
        result = client.infer(model, tensors, outputs=wanted)
        return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def echo(server: TritonServer, model: str, values: Array, data_type: str = "FP32") -> Array:
    return infer(server, model, {"X": (data_type, values)})["Y"]


@dataclass(frozen=True)
class Counts:
    """What Triton counted for a model so far."""

    requests: int
    executions: int

    @classmethod
    def read(cls, server: TritonServer, model: str) -> "Counts":
        with http_client.InferenceServerClient(server.http_address) as client:
            (entry,) = client.get_inference_statistics(model)["model_stats"]
        outcomes = entry["inference_stats"]
        requests = outcomes["success"]["count"] + outcomes["fail"]["count"]
        return cls(requests=requests, executions=entry["execution_count"])


def assert_executed_together(server: TritonServer, model: str, requests: int, *, before: Counts | None = None) -> None:
    """Triton counts a request only after its answer is sent, and an execution after its requests."""
    start = before or Counts(requests=0, executions=0)

    def are_counted() -> bool:
        now = Counts.read(server, model)
        return now.requests - start.requests == requests and now.executions > start.executions

    wait_until(are_counted, what=f"{requests} requests to {model} are counted", timeout_s=5)
    assert Counts.read(server, model).executions - start.executions == 1


def add_identity(server: TritonServer, name: str, **config: Any) -> None:
    server.add_model(name, graphs.identity_config(**config), {"1/model.onnx": graphs.identity()})
    server.load(name)


def add_types(server: TritonServer, name: str, data_types: Sequence[str]) -> None:
    """A model with one input and one output of each type."""
    content = graphs.graph(
        [helper.make_node("Identity", [f"{data_type}_IN"], [data_type]) for data_type in data_types],
        inputs={f"{data_type}_IN": (data_type, ("N", "M")) for data_type in data_types},
        outputs={data_type: (data_type, ("N", "M")) for data_type in data_types},
    )
    config = graphs.config(
        inputs={f"{data_type}_IN": (data_type, [-1, -1]) for data_type in data_types},
        outputs={data_type: (data_type, [-1, -1]) for data_type in data_types},
    )
    server.add_model(name, config, {"1/model.onnx": content})
    server.load(name)


@pytest.fixture(scope="module")
def types_that_numpy_has(triton: TritonServer) -> str:
    add_types(triton, "numpy_types", [data_type for data_type in EXAMPLES if data_type != "BF16"])
    return "numpy_types"


@pytest.fixture(scope="module")
def types_with_bfloat16(triton: TritonServer) -> str:
    add_types(triton, "types_with_bfloat16", [data_type for data_type in EXAMPLES if data_type != "STRING"])
    return "types_with_bfloat16"


@pytest.fixture(scope="module")
def table(triton: TritonServer) -> str:
    """Waits for four requests and looks up their indices in one execution."""
    config = graphs.config(
        inputs={"INDEX": ("INT64", [1])},
        outputs={"VALUE": ("FP32", [1])},
        max_batch_size=4,
        more="dynamic_batching { preferred_batch_size: [4] max_queue_delay_microseconds: 5000000 }",
    )
    triton.add_model("table", config, {"1/model.onnx": graphs.gather()})
    triton.load("table")
    return "table"


def look_up_together(server: TritonServer, indices: Sequence[int]) -> list[float | InferenceServerException]:
    def look_up(index: int) -> float | InferenceServerException:
        try:
            answer = infer(server, "table", {"INDEX": ("INT64", np.array([[index]]))})
        except InferenceServerException as error:
            return error
        return float(answer["VALUE"][0, 0])

    with ThreadPoolExecutor(len(indices)) as pool:
        return list(pool.map(look_up, indices))


@pytest.mark.parametrize("model", ["types_that_numpy_has", "types_with_bfloat16"])
def test_every_type_comes_back_as_it_went_in(model: str, triton: TritonServer, request: pytest.FixtureRequest) -> None:
    name: str = request.getfixturevalue(model)
    absent = "STRING" if name == "types_with_bfloat16" else "BF16"
    examples = {key: value for key, value in EXAMPLES.items() if key != absent}
    answer = infer(triton, name, {f"{key}_IN": (key, value) for key, value in examples.items()})
    assert answer.keys() == examples.keys()
    for data_type, values in examples.items():
        np.testing.assert_array_equal(answer[data_type], values, err_msg=data_type)
        assert answer[data_type].dtype == values.dtype


@pytest.mark.parametrize("model", ["types_that_numpy_has", "types_with_bfloat16"])
def test_empty_tensors_of_every_type_pass(model: str, triton: TritonServer, request: pytest.FixtureRequest) -> None:
    name: str = request.getfixturevalue(model)
    absent = "STRING" if name == "types_with_bfloat16" else "BF16"
    examples = {key: value for key, value in EXAMPLES.items() if key != absent}
    answer = infer(triton, name, {f"{key}_IN": (key, value[:, :0]) for key, value in examples.items()})
    assert {key: values.shape for key, values in answer.items()} == dict.fromkeys(examples, (1, 0))


def test_only_the_requested_outputs_are_sent(types_that_numpy_has: str, triton: TritonServer) -> None:
    inputs = {f"{key}_IN": (key, value) for key, value in EXAMPLES.items() if key != "BF16"}
    answer = infer(triton, types_that_numpy_has, inputs, outputs=["STRING", "INT8"])
    assert set(answer) == {"STRING", "INT8"}


def test_json_and_grpc_give_the_same_text(triton: TritonServer) -> None:
    config = graphs.identity_config("STRING", [1])
    triton.add_model("text", config, {"1/model.onnx": graphs.identity("STRING", ("N", 1))})
    triton.load("text")
    with http_client.InferenceServerClient(triton.http_address) as client:
        tensor = http_client.InferInput("X", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([["naïve"]], dtype=np.object_), binary_data=False)
        output = http_client.InferRequestedOutput("Y", binary_data=False)
        over_http = client.infer("text", [tensor], outputs=[output]).get_response()["outputs"][0]["data"]
    with grpc_client.InferenceServerClient(triton.grpc_url) as client:
        tensor = grpc_client.InferInput("X", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([["naïve"]], dtype=np.object_))
        over_grpc = client.infer("text", [tensor]).as_numpy("Y")[0, 0].decode()
    assert over_http == [over_grpc] == ["naïve"]


def test_text_that_is_not_utf8_is_refused(triton: TritonServer) -> None:
    config = graphs.identity_config("STRING", [1])
    triton.add_model("utf8", config, {"1/model.onnx": graphs.identity("STRING", ("N", 1))})
    triton.load("utf8")
    with pytest.raises(InferenceServerException, match="input 'X' holds text that is not UTF-8") as refusal:
        echo(triton, "utf8", np.array([[b"\xff"]], dtype=np.object_), "STRING")
    assert refusal.value.status() == "400"


def test_concurrent_requests_are_executed_together(table: str, triton: TritonServer) -> None:
    before = Counts.read(triton, table)
    assert look_up_together(triton, [2, 0, 1, 2]) == [12.0, 10.0, 11.0, 12.0]
    assert_executed_together(triton, table, 4, before=before)


def test_a_bad_request_does_not_fail_its_batch(table: str, triton: TritonServer) -> None:
    before = Counts.read(triton, table)
    first, bad, third, fourth = look_up_together(triton, [0, 99, 1, 2])
    assert (first, third, fourth) == (10.0, 11.0, 12.0)
    assert isinstance(bad, InferenceServerException)
    assert bad.message() == (
        "onnx runtime error 2: Non-zero status code returned while running Gather node. Name:'' Status Message: "
        "indices element out of data bounds, idx=99 must be within the inclusive range [-3,2]"
    )
    assert_executed_together(triton, table, 4, before=before)


def test_requests_of_different_size_get_their_own_rows(triton: TritonServer) -> None:
    more = "dynamic_batching { preferred_batch_size: [8] max_queue_delay_microseconds: 5000000 }"
    add_identity(triton, "rows", more=more)
    batches = [np.full((rows, 2), rows, dtype=np.float32) for rows in (1, 2, 5)]
    with ThreadPoolExecutor(len(batches)) as pool:
        answers = list(pool.map(lambda batch: echo(triton, "rows", batch), batches))
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answer, batch)
    assert_executed_together(triton, "rows", 3)


def test_an_output_that_loses_rows_is_an_error_of_that_request_alone(triton: TritonServer) -> None:
    nodes = [
        helper.make_node("Squeeze", ["MASK"], ["KEEP"]),
        helper.make_node("Compress", ["X", "KEEP"], ["Y"], axis=0),
    ]
    content = graphs.graph(
        nodes,
        inputs={"X": ("FP32", ("N", 1)), "MASK": ("BOOL", ("N", 1))},
        outputs={"Y": ("FP32", ("M", 1))},
    )
    config = graphs.config(
        inputs={"X": ("FP32", [1]), "MASK": ("BOOL", [1])},
        outputs={"Y": ("FP32", [1])},
        max_batch_size=4,
        more="dynamic_batching { preferred_batch_size: [4] max_queue_delay_microseconds: 5000000 }",
    )
    triton.add_model("compress", config, {"1/model.onnx": content})
    triton.load("compress")
    values = np.array([[1.0], [2.0]], dtype=np.float32)

    def compress(*mask: bool) -> Array | InferenceServerException:
        try:
            inputs = {"X": ("FP32", values), "MASK": ("BOOL", np.array(mask).reshape(2, 1))}
            return infer(triton, "compress", inputs)["Y"]
        except InferenceServerException as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        whole, shortened = pool.map(compress, [True, True], [True, False])
    np.testing.assert_array_equal(whole, values)
    assert isinstance(shortened, InferenceServerException)
    assert shortened.status() == "400"
    assert shortened.message().startswith("output 'Y' has shape [1, 1] for a batch of 2: ")
    assert_executed_together(triton, "compress", 2)


def test_a_scalar_of_the_graph_has_the_dimensions_of_the_configuration(triton: TritonServer) -> None:
    config = graphs.identity_config(dims=[1], max_batch_size=0)
    triton.add_model("scalar", config, {"1/model.onnx": graphs.identity(shape=())})
    triton.load("scalar")
    np.testing.assert_array_equal(echo(triton, "scalar", np.array([2.5], dtype=np.float32)), [2.5])


def test_the_file_name_and_the_platform_of_the_native_backend_work(triton: TritonServer) -> None:
    tensor = ("FP32", [2])
    config = graphs.config(
        inputs={"X": tensor},
        outputs={"Y": tensor},
        max_batch_size=8,
        backend='platform: "onnxruntime_onnx"',
        more='default_model_filename: "network.onnx"',
    )
    triton.add_model("renamed", config, {"7/network.onnx": graphs.identity()})
    triton.load("renamed")
    triton.wait_ready("renamed", 7)
    np.testing.assert_array_equal(echo(triton, "renamed", np.ones((3, 2), dtype=np.float32)), np.ones((3, 2)))


def test_sequence_controls_reach_the_graph(triton: TritonServer) -> None:
    content = graphs.graph(
        [helper.make_node("Add", ["X", "START"], ["Y"])],
        inputs={"X": ("FP32", ("N", 1)), "START": ("FP32", ("N", 1))},
        outputs={"Y": ("FP32", ("N", 1))},
    )
    control = 'name: "START" control [{ kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 100] }]'
    config = graphs.config(
        inputs={"X": ("FP32", [1])},
        outputs={"Y": ("FP32", [1])},
        max_batch_size=2,
        more=f"sequence_batching {{ control_input [{{ {control} }}] }}",
    )
    triton.add_model("sequence", config, {"1/model.onnx": content})
    triton.load("sequence")
    with http_client.InferenceServerClient(triton.http_address) as client:
        tensor = http_client.InferInput("X", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.array([[1.0]], dtype=np.float32))
        first = client.infer("sequence", [tensor], sequence_id=5, sequence_start=True)
        second = client.infer("sequence", [tensor], sequence_id=5, sequence_end=True)
    assert (first.as_numpy("Y")[0, 0], second.as_numpy("Y")[0, 0]) == (101.0, 1.0)


def test_a_warm_up_runs_as_a_request_of_its_own(triton: TritonServer) -> None:
    sample = 'inputs { key: "X" value { data_type: TYPE_FP32 dims: [2] zero_data: true } }'
    add_identity(triton, "warm", more=f'model_warmup [{{ name: "zeros" batch_size: 1 {sample} }}]')
    assert_executed_together(triton, "warm", 1)


def test_the_thread_count_of_the_configuration_is_used(triton: TritonServer) -> None:
    threads = {}
    for count in (1, 4):
        known = set(stub_pids(triton.memory_prefix))
        parameter = f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{count}" }} }}'
        add_identity(triton, f"threads{count}", more=parameter)
        (pid,) = set(stub_pids(triton.memory_prefix)) - known
        threads[count] = len(list(Path(f"/proc/{pid}/task").iterdir()))
    assert threads[4] - threads[1] == 3


def test_an_unloaded_model_leaves_no_process(triton: TritonServer) -> None:
    known = stub_pids(triton.memory_prefix)
    add_identity(triton, "short_lived")
    assert len(stub_pids(triton.memory_prefix)) == len(known) + 1
    triton.unload("short_lived")
    assert stub_pids(triton.memory_prefix) == known
