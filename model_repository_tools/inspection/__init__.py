"""Looking into model files without running them."""

from model_repository_tools.inspection.onnx import inspect_onnx
from model_repository_tools.inspection.result import OnnxInspection, OperatorCount, OperatorSet
from model_repository_tools.inspection.sandbox import Limits, inspect_untrusted

__all__ = ["Limits", "OnnxInspection", "OperatorCount", "OperatorSet", "inspect_onnx", "inspect_untrusted"]
