"""What ONNX Runtime says, and what of it a client gets to read."""

import pytest

from triton_models.backends.onnxruntime.stand_in.errors import ModelLoadError, explain

TEXTS = [
    pytest.param(
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. "
        "Name:'/model/layer.0/Add' Status Message: "
        "/onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:563 "
        "void onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. "
        "Attempting to broadcast an axis by a dimension other than 1. 3 by 4\n",
        "onnx runtime error 1: Non-zero status code returned while running Add node. Name:'/model/layer.0/Add' "
        "Status Message: axis == 1 || axis == largest was false. "
        "Attempting to broadcast an axis by a dimension other than 1. 3 by 4",
        id="source-location",
    ),
    pytest.param(
        "[ONNXRuntimeError] : 1 : FAIL : Load model from /repository/m.v1/1/model.onnx failed:"
        "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, "
        "const onnxruntime::PathString&, const onnxruntime::IOnnxRuntimeOpSchemaRegistryList*, "
        "const onnxruntime::logging::Logger&, const onnxruntime::ModelOptions&) Unsupported model IR version: 99",
        "onnx runtime error 1: Unsupported model IR version: 99",
        id="signature",
    ),
    pytest.param(
        "[ONNXRuntimeError] : 1 : FAIL : External data path validation failed for initializer: W. Error: "
        "tensorprotoutils.cc:461 ValidateExternalDataPathFromDir "
        'External data path does not exist: "/repository/m.v1/1/w"',
        "onnx runtime error 1: External data path validation failed for initializer: W. Error: "
        'External data path does not exist: "w"',
        id="external-data",
    ),
    pytest.param(
        "Required inputs (['B']) are missing from input feed (['A']).",
        "onnx runtime error 1: Required inputs (['B']) are missing from input feed (['A']).",
        id="no-prefix",
    ),
]


@pytest.mark.parametrize(("text", "explanation"), TEXTS)
def test_an_explanation_has_no_places_in_it(text: str, explanation: str) -> None:
    assert explain(RuntimeError(text), directory="/repository/m.v1/1") == explanation


def test_a_refused_model_ends_its_message_before_the_frames_that_triton_appends() -> None:
    assert str(ModelLoadError("no such file")) == "no such file\0"
