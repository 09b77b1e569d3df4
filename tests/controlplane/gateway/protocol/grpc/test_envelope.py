import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2, service_pb2

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.protocol.grpc.envelope import (
    MAX_FIELDS,
    InferEnvelope,
    address_to,
    answer_as,
    configuration_as,
    read_envelope,
)


def _request(**fields: object) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="m", model_version="2", id="x", **fields)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[300, 2])
    tensor.contents.fp32_contents.extend([1.5] * 600)
    request.outputs.add(name="y")
    request.raw_input_contents.append(np.ones(600, np.float32).tobytes())
    return request


def test_the_envelope_is_read_past_the_tensors() -> None:
    assert read_envelope(_request().SerializeToString()) == InferEnvelope("m", "2", 300, ("y",))


def test_a_message_with_nothing_in_it_has_no_name() -> None:
    assert read_envelope(b"") == InferEnvelope("", "", 1)


def test_an_appended_name_wins_over_any_number_before_it() -> None:
    twice = _request().SerializeToString() + service_pb2.ModelInferRequest(model_name="other").SerializeToString()

    parsed = service_pb2.ModelInferRequest.FromString(twice + address_to("m.v12", 12))

    assert (parsed.model_name, parsed.model_version) == ("m.v12", "12")
    assert read_envelope(twice).model == "other"


def test_answers_and_configurations_get_the_public_name_and_lose_nothing() -> None:
    answer = service_pb2.ModelInferResponse(model_name="m.v1", id="a")
    config = service_pb2.ModelConfigResponse(config=model_config_pb2.ModelConfig(name="m.v1", max_batch_size=8))
    long_name = "m" * 100

    assert service_pb2.ModelInferResponse.FromString(
        answer.SerializeToString() + answer_as(long_name)
    ) == service_pb2.ModelInferResponse(model_name=long_name, id="a")
    assert service_pb2.ModelConfigResponse.FromString(
        config.SerializeToString() + configuration_as("m")
    ) == service_pb2.ModelConfigResponse(config=model_config_pb2.ModelConfig(name="m", max_batch_size=8))


def test_shared_memory_is_refused_in_requests_inputs_and_outputs() -> None:
    of_request, of_input, of_output = _request(), _request(), _request()
    of_request.parameters["shared_memory_region"].string_param = "a"
    of_input.inputs[0].parameters["shared_memory_offset"].int64_param = 1
    of_output.outputs[0].parameters["shared_memory_region"].string_param = "a"

    for request in (of_request, of_input, of_output):
        with pytest.raises(RefusedError) as refused:
            read_envelope(request.SerializeToString())
        assert refused.value.code == "shared_memory.forbidden"


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a\x02\xff\xff",
        b"\xff" * 12,
        b"\x0b",
        b"\x2a\x03\x1a\x05a",
        b"\x10\x01" * (MAX_FIELDS + 1),
    ],
)
def test_bytes_that_are_no_request_are_refused(message: bytes) -> None:
    with pytest.raises(RefusedError):
        read_envelope(message)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_being_refused(message: bytes) -> None:
    with contextlib.suppress(RefusedError):
        read_envelope(message)
