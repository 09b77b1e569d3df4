"""A golden sample for a version that brought none: generated inputs, answered by ONNX Runtime in a sandbox.

It proves less than a sample of the author's: that a server computes what ONNX Runtime computes, not that this is right.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model_repository_tools import golden
from model_repository_tools.config import ModelConfig
from model_repository_tools.findings import Finding, Severity
from model_repository_tools.golden import GoldenSample
from model_repository_tools.inspection import OnnxInspection

_RANDOM_OPERATORS = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


def reference_sample(
    model_path: Path, inspection: OnnxInspection, config: ModelConfig
) -> tuple[GoldenSample | None, list[Finding]]:
    """Makes a sample of origin ``reference``; None, with a warning that says why, where that is not possible.

    The same graph gives the same sample. A graph whose answers differ from run to run gets none.
    """
    # Asked of the graph, not tried: two sessions of one process draw the same numbers, two processes do not.
    if random := sorted({each.op_type for each in inspection.operators} & _RANDOM_OPERATORS):
        return None, [
            Finding(
                "golden.no_reference",
                model_path.name,
                f"gets no generated golden sample: its answers differ from run to run ({', '.join(random)})",
                "give a golden sample with a tolerance that fits, or publish without one",
                Severity.WARNING,
            )
        ]
    result = golden.reference_sample(model_path, inspection, config)
    # No sample is no fault of the version: what stands against one is worth knowing, not worth refusing.
    return result.sample, [replace(finding, severity=Severity.WARNING) for finding in result.findings]
