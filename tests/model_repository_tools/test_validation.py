from pathlib import Path

import pytest

from model_repository_tools.config import InstanceKind, ServingOptions, parse_config, render_config
from model_repository_tools.pools import PoolFacts
from model_repository_tools.validation import Declaration, Validation, validate_version
from tests.model_repository_tools.inspection.folders import ENSEMBLE, PLAN, PYTHON, onnx_version, version

IO = b"""
input { name: "x" data_type: TYPE_FP32 dims: 4 }
output { name: "y" data_type: TYPE_FP32 dims: 4 }
"""


def codes(validation: Validation) -> list[str]:
    return [finding.code for finding in validation.findings]


def test_a_sound_graph_needs_no_configuration(tmp_path: Path) -> None:
    validation = validate_version(onnx_version(tmp_path / "v"), "m.v3", 3)
    assert (validation.findings, validation.is_publishable(), validation.carries_code) == ((), True, False)
    assert validation.config is not None
    text = render_config(validation.config)
    assert parse_config(text, triton_name="m.v3", version_number=3).findings == ()
    assert validation.to_dict()["config"] == text


def test_an_imported_configuration_is_taken_over_as_choices(tmp_path: Path) -> None:
    text = b'name: "theirs" max_batch_size: 8 response_cache { enable: true } platform: "onnxruntime_onnx"' + IO
    validation = validate_version(onnx_version(tmp_path / "v", config__pbtxt=text), "m.v3", 3)
    assert validation.findings == ()
    assert validation.config is not None
    assert (validation.config.name, validation.config.max_batch_size) == ("m.v3", 8)
    assert validation.config.response_cache


def test_an_operators_options_come_last(tmp_path: Path) -> None:
    text = b'max_batch_size: 8 backend: "onnxruntime"'
    folder = onnx_version(tmp_path / "v", config__pbtxt=text + IO)
    validation = validate_version(folder, "m.v3", 3, options=ServingOptions(max_batch_size=2))
    assert validation.config is not None
    assert validation.config.max_batch_size == 2


def test_a_pool_places_the_instances(tmp_path: Path) -> None:
    validation = validate_version(onnx_version(tmp_path / "v"), "m.v3", 3, pool=PoolFacts(has_gpu=True))
    assert validation.config is not None
    assert [group.kind for group in validation.config.instance_groups] == [InstanceKind.GPU]


def test_an_ensemble_is_its_configuration(tmp_path: Path) -> None:
    validation = validate_version(version(tmp_path / "v", {"config.pbtxt": ENSEMBLE}), "e.v1", 1)
    assert (validation.findings, validation.is_publishable()) == ((), True)


def test_a_plan_needs_a_declaration_a_configuration_and_a_matching_pool(tmp_path: Path) -> None:
    text = b'platform: "tensorrt_plan" max_batch_size: 8' + IO
    folder = version(tmp_path / "v", {"model.plan": PLAN, "config.pbtxt": text})
    bare = validate_version(version(tmp_path / "w", {"model.plan": PLAN}), "m.v1", 1)
    assert codes(bare) == ["tensorrt.unverified", "tensorrt.capability_missing", "config.missing"]
    declared = Declaration("10.3", "8.6")
    pool = PoolFacts(has_gpu=True, tensorrt_version="10.3.0", compute_capabilities=("8.6",))
    validation = validate_version(folder, "m.v1", 1, declaration=declared, pool=pool)
    assert (codes(validation), validation.is_publishable()) == (["tensorrt.unverified"], True)
    wrong = validate_version(folder, "m.v1", 1, declaration=Declaration("8.6", "8.6"), pool=PoolFacts())
    assert codes(wrong) == ["tensorrt.unverified", "tensorrt.version_differs", "pool.tensorrt_needs_gpu"]


def test_a_program_is_published_only_if_somebody_answers_for_it(tmp_path: Path) -> None:
    files = {"model.py": PYTHON, "config.pbtxt": b'backend: "python"' + IO}
    validation = validate_version(version(tmp_path / "v", files), "m.v1", 1)
    assert set(codes(validation)) == {"code.python_backend"}
    assert validation.carries_code
    assert not validation.is_publishable()
    assert validation.is_publishable(allow_code=True)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"model.plan": PLAN, "config.pbtxt": b'backend: "python"' + IO}, "config.backend_differs"),
        (
            {"model.plan": PLAN, "w/x.plan": b"", "config.pbtxt": b'backend: "tensorrt" default_model_filename: "w"'},
            "config.other_model",
        ),
        ({"model.py": PYTHON, "config.pbtxt": b'backend: "onnxruntime"' + IO}, "config.backend_differs"),
        ({"model.py": PYTHON, "config.pbtxt": b"nonsense"}, "config.malformed"),
        ({"model.py": PYTHON, "config.pbtxt": b"\xff\xfe"}, "config.malformed"),
        ({"model.py": PYTHON, "config.pbtxt": b"#" * (1 << 20) + b"#"}, "config.too_large"),
    ],
)
def test_a_configuration_that_serves_something_else_is_a_finding(
    tmp_path: Path, files: dict[str, bytes], code: str
) -> None:
    validation = validate_version(version(tmp_path / "v", files), "m.v1", 1)
    assert code in codes(validation)
    assert not validation.is_publishable(allow_code=True)


def test_a_folder_without_a_model_is_a_finding_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    validation = validate_version(tmp_path / "v", "m.v1", 1)
    assert codes(validation) == ["version.no_model"]
    assert not validation.is_publishable(allow_code=True)
