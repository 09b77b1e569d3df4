"""Versions' folders for tests."""

import pickle
from pathlib import Path

from tests.model_repository_tools.graphs import save_double

PLAN = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + b"engine" * 50
PYTHON = b"""import json
import numpy as np
from os import path
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        raise SystemExit("executed")

    def execute(self, requests):
        return []


raise SystemExit("executed")
"""
ENSEMBLE = b"""
platform: "ensemble"
input { name: "a" data_type: TYPE_FP32 dims: 4 }
output { name: "c" data_type: TYPE_FP32 dims: 4 }
ensemble_scheduling {
  step { model_name: "m.v1" model_version: 1 input_map { key: "x" value: "a" } output_map { key: "y" value: "b" } }
  step { model_name: "m.v2" model_version: 2 input_map { key: "x" value: "b" } output_map { key: "y" value: "c" } }
}
"""
PICKLE = pickle.dumps({"weights": print})


def onnx_version(folder: Path, **files: bytes) -> Path:
    """Save a sound ONNX model, and other files beside it; `__` stands for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    save_double(folder / "model.onnx")
    return version(folder, {name.replace("__", "."): content for name, content in files.items()})


def version(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
