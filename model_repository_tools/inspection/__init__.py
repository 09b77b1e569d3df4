"""Looking into models without running them."""

from model_repository_tools.inspection.layout import Layout, lay_out
from model_repository_tools.inspection.onnx import inspect_onnx
from model_repository_tools.inspection.python import PythonModel
from model_repository_tools.inspection.result import OnnxInspection, OperatorCount, OperatorSet
from model_repository_tools.inspection.sandbox import inspect_untrusted, inspect_version
from model_repository_tools.inspection.tensorrt import TensorRTPlan
from model_repository_tools.inspection.version import ArtifactKind, VersionInspection
from model_repository_tools.sandbox import Limits, Network

__all__ = [
    "ArtifactKind",
    "Layout",
    "Limits",
    "Network",
    "OnnxInspection",
    "OperatorCount",
    "OperatorSet",
    "PythonModel",
    "TensorRTPlan",
    "VersionInspection",
    "inspect_onnx",
    "inspect_untrusted",
    "inspect_version",
    "lay_out",
]
