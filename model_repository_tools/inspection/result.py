"""What an inspection found out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_repository_tools.findings import Finding, has_errors
from model_repository_tools.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class OperatorSet:
    """A set of operators that the graph relies on; the domain "" is ONNX' own."""

    domain: str
    version: int


@dataclass(frozen=True, slots=True)
class OperatorCount:
    """How often the graph, with its subgraphs and functions, uses an operator."""

    domain: str
    op_type: str
    count: int


@dataclass(frozen=True, slots=True)
class OnnxInspection:
    """What an ONNX file is, as far as it could be read; `findings` say what is wrong with it.

    Attributes:
        inputs: What a request must bring; inputs with a default (an initializer) are left out.
        custom_domains: Operator domains that onnxruntime does not have: they need a library of code.
        size_bytes: Of the file itself.
        weight_bytes: Of the weights in the file and in its external files.
        external_files: Files with weights, relative to the model's folder, sorted.
    """

    size_bytes: int
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    opsets: tuple[OperatorSet, ...] = ()
    ir_version: int = 0
    producer: str = ""
    operators: tuple[OperatorCount, ...] = ()
    custom_domains: tuple[str, ...] = ()
    weight_bytes: int = 0
    external_files: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_servable(self) -> bool:
        """True if no finding is an error."""
        return not has_errors(self.findings)

    @property
    def opset(self) -> int:
        """The version of ONNX' own operators, 0 if the graph uses none."""
        return next((opset.version for opset in self.opsets if not opset.domain), 0)

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return {
            "size_bytes": self.size_bytes,
            "inputs": [spec.to_dict() for spec in self.inputs],
            "outputs": [spec.to_dict() for spec in self.outputs],
            "opsets": [{"domain": opset.domain, "version": opset.version} for opset in self.opsets],
            "ir_version": self.ir_version,
            "producer": self.producer,
            "operators": [{"domain": o.domain, "op_type": o.op_type, "count": o.count} for o in self.operators],
            "custom_domains": list(self.custom_domains),
            "weight_bytes": self.weight_bytes,
            "external_files": list(self.external_files),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "OnnxInspection":
        """Undo `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: `value` did not come from `to_dict`.
        """
        return cls(
            size_bytes=int(value["size_bytes"]),
            inputs=tuple(TensorSpec.from_dict(spec) for spec in value["inputs"]),
            outputs=tuple(TensorSpec.from_dict(spec) for spec in value["outputs"]),
            opsets=tuple(OperatorSet(str(o["domain"]), int(o["version"])) for o in value["opsets"]),
            ir_version=int(value["ir_version"]),
            producer=str(value["producer"]),
            operators=tuple(
                OperatorCount(str(o["domain"]), str(o["op_type"]), int(o["count"])) for o in value["operators"]
            ),
            custom_domains=tuple(str(domain) for domain in value["custom_domains"]),
            weight_bytes=int(value["weight_bytes"]),
            external_files=tuple(str(name) for name in value["external_files"]),
            findings=tuple(Finding.from_dict(finding) for finding in value["findings"]),
        )
