"""The parts of the ONNX Runtime stand-in; `model.py` beside this package is what Triton loads."""
