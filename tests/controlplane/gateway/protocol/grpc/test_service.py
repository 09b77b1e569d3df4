"""The gRPC side, spoken to by tritonclient and by hand, and held against the Triton behind it."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from controlplane.wire.keys import generate_key
from controlplane.wire.usage import Arm, Cause, Protocol
from tests.support.gateway import ECHO_NUMBER, Gateway, Key, echo_model, model_entry, wait_for_records
from tests.support.triton import TritonServer


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[triton_grpc.InferenceServerClient]:
    with triton_grpc.InferenceServerClient(gateway.grpc_address) as client:
        yield client


@pytest.fixture(scope="module")
def stub(gateway: Gateway) -> Iterator[Any]:
    with grpc.insecure_channel(gateway.grpc_address) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def _infer(client: Any, model: str, version: str = "", values: Any = None, **options: Any) -> Any:
    values = np.arange(6, dtype=np.float32).reshape(2, 3) if values is None else values
    dtype = "BYTES" if values.dtype == object else {"f4": "FP32", "i4": "INT32"}[values.dtype.str[1:]]
    tensor = triton_grpc.InferInput("x", list(values.shape), dtype)
    tensor.set_data_from_numpy(values)
    return client.infer(model, [tensor], version, **options)


def _error(call: Any, *arguments: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as raised:
        call(*arguments, **options)
    return str(raised.value.status()).removeprefix("StatusCode."), str(raised.value.message())


@pytest.mark.parametrize(
    ("model", "version", "reached", "arm"),
    [("echo", "", 1, Arm.STABLE), ("echo", "2", 2, Arm.PINNED), ("echo@next", "", 2, Arm.PINNED)],
)
def test_an_answer_is_tritons_own_apart_from_the_name(
    gateway: Gateway,
    client: Any,
    echo_triton: TritonServer,
    model: str,
    version: str,
    reached: int,
    arm: Arm,
) -> None:
    key = gateway.new_key()
    with triton_grpc.InferenceServerClient(echo_triton.grpc_url) as direct_client:
        direct = _infer(direct_client, f"echo.v{reached}", request_id="r").get_response()

    answer = _infer(client, model, version, headers=key.header, request_id="r").get_response()

    direct.model_name = "echo"
    assert answer == direct
    assert answer.model_version == str(reached)
    [record] = gateway.records(key)
    assert (record.status, record.cause, record.protocol, record.arm) == (200, Cause.OK, Protocol.GRPC_V2, arm)
    assert (record.model, record.version, record.rows) == (ECHO_NUMBER, reached, 2)
    # The public name came on top of Triton's in the bytes; nothing was parsed.
    assert record.bytes_out == direct.ByteSize() + len(f"echo.v{reached}") + 2
    assert 0 < record.upstream_us <= record.duration_us


def test_strings_and_large_messages_pass(gateway: Gateway, client: Any) -> None:
    header = gateway.new_key().header
    strings = np.array([[b"a", b"", b"shared_memory_region"]], dtype=object)
    large = np.ones((1, 3_000_000), np.float32)

    assert _infer(client, "text", values=strings, headers=header).as_numpy("y").tolist() == strings.tolist()
    assert np.array_equal(_infer(client, "echo", values=large, headers=header).as_numpy("y"), large)


def test_questions_are_answered_under_the_public_name(gateway: Gateway, client: Any) -> None:
    header = gateway.new_key().header

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata(headers=header).name == "triton"
    assert client.is_model_ready("echo", headers=header)
    assert client.is_model_ready("echo", "2", headers=header)
    assert not client.is_model_ready("echo", "3", headers=header)
    assert not client.is_model_ready("nope", headers=header)
    metadata = client.get_model_metadata("echo", headers=header)
    assert (metadata.name, list(metadata.versions)) == ("echo", ["1", "2"])
    assert (metadata.inputs[0].name, list(metadata.outputs[0].shape)) == ("x", [-1, -1])
    assert list(client.get_model_metadata("echo", "2", headers=header).versions) == ["2"]
    config = client.get_model_config("echo@next", headers=header).config
    assert (config.name, config.max_batch_size) == ("echo", 64)


def test_a_call_without_a_right_key_is_refused(gateway: Gateway, client: Any) -> None:
    expired, revoked = gateway.new_key(expires_at_s=time.time() - 1), gateway.new_key()
    _infer(client, "echo", headers=revoked.header)
    gateway.revoke(revoked)

    for headers in ({}, {"x-api-key": generate_key("test").text}, expired.header, revoked.header):
        assert _error(_infer, client, "echo", headers=headers)[0] == "UNAUTHENTICATED"
        assert _error(client.get_model_metadata, "echo", headers=headers)[0] == "UNAUTHENTICATED"
        assert _error(client.get_server_metadata, headers=headers)[0] == "UNAUTHENTICATED"


def test_errors_are_tritons_own_and_speak_of_the_public_name(gateway: Gateway, client: Any) -> None:
    key = gateway.new_key()
    integers = np.ones((1, 2), np.int32)

    assert _error(_infer, client, "nope", headers=key.header) == (
        "NOT_FOUND",
        "Request for unknown model: 'nope' is not found",
    )
    assert _error(_infer, client, "echo", "9", headers=key.header) == (
        "NOT_FOUND",
        "Request for unknown model: 'echo' version 9 is not found",
    )
    status, message = _error(_infer, client, "echo", "x", headers=key.header)
    assert (status, message[:32]) == ("INVALID_ARGUMENT", "failed to get model version from")
    status, message = _error(_infer, client, "echo", values=integers, headers=key.header)
    assert (status, "model 'echo' expects 'FP32'" in message) == ("INVALID_ARGUMENT", True)
    assert [(record.status, record.cause) for record in gateway.records(key)] == [
        (404, Cause.REQUEST),
        (404, Cause.REQUEST),
        (400, Cause.REQUEST),
        (400, Cause.REQUEST),
    ]


def test_a_hidden_model_answers_exactly_like_an_unknown_one(gateway: Gateway, client: Any) -> None:
    header = gateway.new_key(models=("text",)).header

    for call in (client.get_model_metadata, client.get_model_config):
        hidden, unknown = _error(call, "echo", headers=header), _error(call, "nope", headers=header)
        assert hidden == (unknown[0], unknown[1].replace("nope", "echo"))
    assert not client.is_model_ready("echo", headers=header)


def test_a_request_too_large_for_its_model_is_refused(gateway: Gateway, client: Any) -> None:
    key = gateway.new_key()
    gateway.order(model_entry(echo_model(max_body_bytes=1000)))
    try:
        status, _ = _error(_infer, client, "echo", values=np.ones((1, 1000), np.float32), headers=key.header)
    finally:
        gateway.order(model_entry(echo_model()))

    assert status == "RESOURCE_EXHAUSTED"


def test_every_answer_carries_the_same_metadata_as_http(gateway: Gateway, stub: Any) -> None:
    key = gateway.new_key()
    request = service_pb2.ModelMetadataRequest(name="echo")
    metadata = (("x-api-key", key.text), ("x-request-id", "abc-1"))

    _, call = stub.ModelMetadata.with_call(request, metadata=metadata)
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="nope"), metadata=metadata)

    trailing = dict(call.trailing_metadata())
    assert (trailing["x-request-id"], trailing["x-model-version"]) == ("abc-1", "1")
    assert float(trailing["x-gateway-overhead-ms"]) >= 0
    of_error: Any = refused.value.trailing_metadata()
    assert ("x-error-code", "model.not_found") in of_error


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest(), "PERMISSION_DENIED"),
        ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest(), "PERMISSION_DENIED"),
        ("SystemSharedMemoryStatus", service_pb2.SystemSharedMemoryStatusRequest(), "PERMISSION_DENIED"),
        ("CudaSharedMemoryRegister", service_pb2.CudaSharedMemoryRegisterRequest(), "PERMISSION_DENIED"),
        ("TraceSetting", service_pb2.TraceSettingRequest(), "PERMISSION_DENIED"),
        ("LogSettings", service_pb2.LogSettingsRequest(), "PERMISSION_DENIED"),
        ("RepositoryIndex", service_pb2.RepositoryIndexRequest(), "UNIMPLEMENTED"),
        ("ModelStatistics", service_pb2.ModelStatisticsRequest(), "UNIMPLEMENTED"),
    ],
)
def test_what_is_not_served_says_why(gateway: Gateway, stub: Any, method: str, request_: Any, code: str) -> None:
    for headers, expected in ((gateway.new_key().header, code), ({}, "UNAUTHENTICATED")):
        metadata = [(name.lower(), value) for name, value in headers.items()]
        with pytest.raises(grpc.RpcError) as refused:
            getattr(stub, method)(request_, metadata=metadata)
        assert refused.value.code().name == expected
        assert refused.value.details()


def test_a_stream_is_refused_before_it_begins(gateway: Gateway, stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        next(stub.ModelStreamInfer(iter(()), metadata=(("x-api-key", gateway.new_key().text),)))

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def _slow(stub: Any, key: Key, seconds: float, **options: Any) -> Any:
    request = service_pb2.ModelInferRequest(model_name="slow")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(seconds)
    return stub.ModelInfer.future(request, metadata=(("x-api-key", key.text),), **options)


def test_a_client_that_cancels_is_the_cause(gateway: Gateway, stub: Any) -> None:
    key = gateway.new_key()
    call = _slow(stub, key, 0.9)
    threading.Timer(0.1, call.cancel).start()

    with pytest.raises(grpc.FutureCancelledError):
        call.result()

    [record] = wait_for_records(gateway, key, 1)
    assert (record.status, record.cause) == (499, Cause.CLIENT)
    assert record.duration_us < 800_000


def test_a_clients_deadline_is_the_clients_and_the_models_is_the_models(gateway: Gateway, stub: Any) -> None:
    impatient, patient = gateway.new_key(), gateway.new_key()

    for key, options in ((impatient, {"timeout": 0.2}), (patient, {"timeout": 10})):
        with pytest.raises(grpc.RpcError) as raised:
            _slow(stub, key, 2.4, **options).result()
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    [record] = wait_for_records(gateway, impatient, 1)
    assert record.cause == Cause.CLIENT
    [record] = wait_for_records(gateway, patient, 1)
    assert (record.status, record.cause) == (504, Cause.MODEL)


def test_bytes_that_are_no_request_are_refused(gateway: Gateway) -> None:
    key = gateway.new_key()
    with grpc.insecure_channel(gateway.grpc_address) as channel:
        for method in ("ModelInfer", "ModelMetadata"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}", None, None)
            with pytest.raises(grpc.RpcError) as refused:
                call(b"\xff" * 20, metadata=(("x-api-key", key.text),))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
