"""The models behind the gateway of the tests: what each version runs inside a Triton."""

from controlplane.wire.names import triton_name
from tests.support.triton import TritonServer

_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 64
input [{{ name: "x" data_type: {dtype} dims: [-1] }}]
output [{{ name: "y" data_type: {dtype} dims: [-1] }}]
instance_group [{{ kind: KIND_CPU count: {instances} }}]
version_policy: {{ specific: {{ versions: [{version}] }} }}
"""
_ECHO = b"""
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", array)]) for array in inputs]
"""
_SLOW = b"""
import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        time.sleep(max(float(array.flat[0]) for array in inputs))
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", array)]) for array in inputs]
"""

_SUM_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 8
sequence_batching {{
  max_sequence_idle_microseconds: 60000000
  control_input [
    {{ name: "START" control [ {{ kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] }} ] }},
    {{ name: "CORRID" control [ {{ kind: CONTROL_SEQUENCE_CORRID data_type: {dtype} }} ] }}
  ]
}}
input [{{ name: "x" data_type: TYPE_FP32 dims: [1] }}]
output [{{ name: "y" data_type: TYPE_FP32 dims: [1] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
version_policy: {{ specific: {{ versions: [{version}] }} }}
"""
_SUM = b"""
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        responses = []
        for request in requests:
            x, start, corrid = (
                pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("x", "START", "CORRID")
            )
            key = str(corrid.flat[0])
            # Slots of a batch that no sequence is in come as requests of the sequence 0.
            self.sums[key] = x if start.flat[0] else self.sums.get(key, 0 * x) + x
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", self.sums[key])]))
        return responses
"""
_TOLD_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 0
model_transaction_policy {{ decoupled: True }}
input [
  {{ name: "text_input" data_type: TYPE_STRING dims: [1] }},
  {{ name: "n" data_type: TYPE_INT32 dims: [1] optional: true }},
  {{ name: "pause_s" data_type: TYPE_FP32 dims: [1] optional: true }}
]
output [{{ name: "text_output" data_type: {dtype} dims: [1] }}]
instance_group [{{ kind: KIND_CPU count: 2 }}]
version_policy: {{ specific: {{ versions: [{version}] }} }}
"""
_TOLD = b"""
import time

import numpy as np
import triton_python_backend_utils as pb_utils

def value(request, name, default):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else tensor.as_numpy().flat[0]

class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            text, n = value(request, "text_input", b""), int(value(request, "n", 1))
            sender = request.get_response_sender()
            for number in range(abs(n)):
                if number:
                    time.sleep(float(value(request, "pause_s", 0)))
                output = np.array([text + b" %d" % number], dtype=object)
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("text_output", output)]))
            if n < 0:
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("told.v1 broke off")))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

MODELS = {
    "echo": ("TYPE_FP32", _ECHO, (1, 2)),
    "slow": ("TYPE_FP32", _SLOW, (1,)),
    "text": ("TYPE_STRING", _ECHO, (1,)),
    "sum": ("TYPE_UINT64", _SUM, (1,)),
    "told": ("TYPE_STRING", _TOLD, (1,)),
}
"""Slug -> dtype, code, versions. `slow` sleeps for as many seconds as its first element says; `sum` adds up a sequence;
`told` answers `n` times, `pause_s` apart, and with an error at the end where `n` is negative."""
_CONFIGS = {"sum": _SUM_CONFIG, "told": _TOLD_CONFIG}


def add_models(triton: TritonServer) -> None:
    """Puts `MODELS` into a Triton's repository and loads them, each version as a model of its own."""
    for slug, (dtype, code, versions) in MODELS.items():
        for version in versions:
            name = triton_name(slug, version)
            instances = 4 if slug == "slow" else 1
            config = _CONFIGS.get(slug, _CONFIG).format(name=name, dtype=dtype, version=version, instances=instances)
            triton.add_model(name, config, {f"{version}/model.py": code})
            triton.load(name)
