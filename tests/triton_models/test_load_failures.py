"""Models that the ONNX Runtime stand-in refuses, and what a client gets to read about it."""

from collections.abc import Mapping

import pytest
from onnx import helper

from tests.support.triton import ControlError, TritonServer
from tests.triton_models import graphs

LOAD_FAILURES: Mapping[str, tuple[str, Mapping[str, bytes], str]] = {
    "not_onnx": (
        graphs.identity_config(),
        {"1/model.onnx": b"not a model"},
        "'model.onnx' cannot be loaded: onnx runtime error 7: Protobuf parsing failed.",
    ),
    "no_file": (
        graphs.identity_config(),
        {"1/other.onnx": graphs.identity()},
        "unable to find 'model.onnx' in the version folder",
    ),
    "outside": (
        graphs.identity_config(more='default_model_filename: "../../outside/1/model.onnx"'),
        {"1/model.onnx": graphs.identity()},
        "default_model_filename '../../outside/1/model.onnx' does not lie in the version folder",
    ),
    "newer_opset": (
        graphs.identity_config(),
        {"1/model.onnx": graphs.graph([], inputs={"X": ("FP32", [1])}, outputs={"X": ("FP32", [1])}, opset=99)},
        "'model.onnx' cannot be loaded: onnx runtime error 1: ONNX Runtime only *guarantees* support for models",
    ),
    "wrong_type": (
        graphs.identity_config("INT64"),
        {"1/model.onnx": graphs.identity()},
        "configuration expects datatype TYPE_INT64 for input 'X', the ONNX graph provides TYPE_FP32",
    ),
    "wrong_dims": (
        graphs.identity_config(dims=[3]),
        {"1/model.onnx": graphs.identity()},
        (
            "tensor 'X': the ONNX graph expects 2 dimensions (shape [-1, 2]) "
            "but the model configuration specifies 2 dimensions (shape [-1, 3])"
        ),
    ),
    "no_batch_dimension": (
        graphs.identity_config(),
        {"1/model.onnx": graphs.identity(shape=(1, 2))},
        (
            "tensor 'X': for the model to support batching the shape should have at least 1 dimension and the first "
            "dimension must be -1; but the ONNX graph has [1, 2]: set max_batch_size to 0"
        ),
    ),
    "unknown_output": (
        graphs.config(inputs={"X": ("FP32", [2])}, outputs={"Z": ("FP32", [2])}, max_batch_size=8),
        {"1/model.onnx": graphs.identity()},
        "unexpected inference output 'Z', the ONNX graph has the outputs 'Y'",
    ),
    "missing_input": (
        graphs.config(inputs={}, outputs={"VALUE": ("FP32", [1])}, max_batch_size=8),
        {"1/model.onnx": graphs.gather()},
        "the ONNX graph needs input 'INDEX', which the configuration does not name",
    ),
    "text_and_bfloat16": (
        graphs.config(inputs={"A": ("STRING", [1]), "B": ("BF16", [1])}, outputs={"Y": ("BF16", [1])}),
        {
            "1/model.onnx": graphs.graph(
                [helper.make_node("Identity", ["B"], ["Y"])],
                inputs={"A": ("STRING", [1]), "B": ("BF16", [1])},
                outputs={"Y": ("BF16", [1])},
            )
        },
        "the stand-in takes no text inputs beside BF16 tensors: use the native backend",
    ),
    "bad_parameter": (
        graphs.identity_config(more='parameters { key: "execution_mode" value { string_value: "fast" } }'),
        {"1/model.onnx": graphs.identity()},
        "parameter 'execution_mode' is 'fast': use a whole number",
    ),
}


@pytest.mark.parametrize("name", LOAD_FAILURES)
def test_a_model_that_cannot_be_loaded_says_why_and_nothing_else(name: str, triton: TritonServer) -> None:
    config, files, explanation = LOAD_FAILURES[name]
    triton.add_model(name, config, files)
    with pytest.raises(ControlError) as refusal:
        triton.load(name)
    (reason,) = [entry["reason"] for entry in triton.index() if entry["name"] == name]
    assert reason.startswith(f"Internal: unable to load the model: {explanation}")
    for text in (str(refusal.value), reason):
        assert explanation in text
        without_explanation = text.replace(explanation, "")
        assert not any(trace in without_explanation for trace in ("/", "At:", ".py", "Traceback", "::"))
