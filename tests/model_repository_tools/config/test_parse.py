import pytest

from model_repository_tools.config import parse_config

GOOD = 'name: "m.v1" version_policy { specific { versions: 1 } }'


def test_a_good_text_has_no_findings() -> None:
    parsed = parse_config(GOOD, triton_name="m.v1", version_number=1)
    assert parsed.findings == ()
    assert parsed.message is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name: ", "config.malformed"),
        ("nonsense_field: 1", "config.malformed"),
        ("max_batch_size: 'many'", "config.malformed"),
        ("max_batch_size: 99999999999999", "config.malformed"),
        ("input { " * 1000, "config.malformed"),
        ('name: "\ud800"', "config.malformed"),
        ("#" * (1 << 20) + "\n", "config.too_large"),
    ],
)
def test_a_text_that_does_not_fit_the_schema_is_a_finding(text: str, code: str) -> None:
    parsed = parse_config(text)
    assert parsed.message is None
    assert [finding.code for finding in parsed.findings] == [code]


def test_a_name_that_is_not_the_folders_is_a_finding() -> None:
    assert [finding.code for finding in parse_config(GOOD, triton_name="m.v2").findings] == ["config.name"]


@pytest.mark.parametrize("policy", ["", "latest { num_versions: 1 }", "specific { versions: 1 versions: 2 }"])
def test_a_policy_that_could_serve_another_version_is_a_finding(policy: str) -> None:
    parsed = parse_config(f'name: "m.v1" version_policy {{ {policy} }}', version_number=1)
    assert [finding.code for finding in parsed.findings] == ["config.version_policy"]
