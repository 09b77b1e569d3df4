"""A python-based Triton backend named `onnxruntime`, for hosts that lack NVIDIA's native one.

Triton uses it for `backend: "onnxruntime"` and `platform: "onnxruntime_onnx"`. The model repository knows nothing of
it: where the native backend is installed, the same folders load there.
"""

# Triton imports this file from its folder, which it puts on sys.path: the package has another name here than in the
# repository, where type checkers look.
from stand_in.instance import TritonPythonModel  # type: ignore[import-not-found]

__all__ = ["TritonPythonModel"]
