"""Golden samples: a real request with the answer it must get. They prove a deployment, and warm it up."""

from model_repository_tools.golden.generate import generate_inputs
from model_repository_tools.golden.reference import ReferenceResult, reference_outputs, reference_sample
from model_repository_tools.golden.samples import GoldenSample, Origin, Tolerance, compare, infer_request, warm_up

__all__ = [
    "GoldenSample",
    "Origin",
    "ReferenceResult",
    "Tolerance",
    "compare",
    "generate_inputs",
    "infer_request",
    "reference_outputs",
    "reference_sample",
    "warm_up",
]
