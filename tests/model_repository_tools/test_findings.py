import json

import pytest

from model_repository_tools.findings import Finding, Severity, has_errors


def test_a_finding_survives_json() -> None:
    finding = Finding("onnx.x", "a/b", "message", "fix", Severity.WARNING)
    assert Finding.from_dict(json.loads(json.dumps(finding.to_dict()))) == finding


@pytest.mark.parametrize(
    ("severities", "expected"),
    [((), False), ((Severity.INFO, Severity.WARNING), False), ((Severity.INFO, Severity.ERROR), True)],
)
def test_only_errors_forbid_publishing(severities: tuple[Severity, ...], expected: bool) -> None:
    assert has_errors([Finding("c", "p", "m", severity=severity) for severity in severities]) is expected
