import json
import time
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession

from model_repository_tools.config import derive_config
from model_repository_tools.golden import compare, reference_outputs
from model_repository_tools.inspection import inspect_onnx
from model_repository_tools.tensors import DataType, TensorSpec, from_json_tensor
from triton_models.digits.train import TrainedVersion, main, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[TrainedVersion]:
    begin = time.process_time()
    versions = train(tmp_path_factory.mktemp("digits"))
    assert time.process_time() - begin < 15
    return versions


def test_the_linear_version_is_good_and_the_network_is_better(trained: list[TrainedVersion]) -> None:
    linear, network = trained
    assert (linear.version, network.version) == ("1.0.0", "1.1.0")
    assert 0.94 <= linear.card["metrics"]["test_accuracy"] < network.card["metrics"]["test_accuracy"]


def test_the_graph_takes_raw_pixels_and_returns_plain_tensors(trained: list[TrainedVersion]) -> None:
    for version in trained:
        inspection = inspect_onnx(version.model)
        assert inspection.findings == ()
        assert inspection.opset == 17
        assert inspection.inputs == (TensorSpec("image", DataType.FP32, (-1, 64), ("batch", "")),)
        assert inspection.outputs == (
            TensorSpec("probabilities", DataType.FP32, (-1, 10), ("batch", "")),
            TensorSpec("label", DataType.INT64, (-1, 1), ("batch", "")),
        )


def test_the_versions_batch_in_triton_without_a_reshape(trained: list[TrainedVersion]) -> None:
    for version in trained:
        config = derive_config(inspect_onnx(version.model), "digits.v1", 1)
        assert config.max_batch_size > 0
        assert not any(tensor.is_scalar for tensor in (*config.inputs, *config.outputs))


def test_the_card_on_disk_is_the_card_in_memory(trained: list[TrainedVersion]) -> None:
    for version in trained:
        assert json.loads((version.folder / "card.json").read_text()) == json.loads(json.dumps(version.card))
        assert version.card["version"] == version.version
        assert version.card["dataset"]["test_samples"] == 450


def test_golden_samples_are_real_digits_with_the_right_answer(trained: list[TrainedVersion]) -> None:
    for version in trained:
        assert len(version.golden_samples) == 3
        for sample, label in zip(version.golden_samples, version.card["golden_labels"], strict=True):
            outputs = {output["name"]: from_json_tensor(output) for output in sample.outputs}
            assert outputs["label"].tolist() == [[label]]
            assert outputs["probabilities"].argmax() == label
            assert compare(sample.outputs, reference_outputs(version.model, sample.inputs)) == []


def test_the_samples_of_one_version_tell_it_from_the_other(trained: list[TrainedVersion]) -> None:
    linear, network = trained
    for sample in linear.golden_samples:
        assert compare(sample.outputs, reference_outputs(network.model, sample.inputs))


def test_a_row_does_not_depend_on_its_batch(trained: list[TrainedVersion]) -> None:
    for version in trained:
        session = InferenceSession(version.model)
        rows = np.concatenate([from_json_tensor(sample.inputs[0]) for sample in version.golden_samples])
        together = session.run(["probabilities"], {"image": rows})[0]
        alone = [session.run(["probabilities"], {"image": row[np.newaxis]})[0][0] for row in rows]
        np.testing.assert_allclose(together, alone, atol=1e-6)


def test_training_again_gives_the_same_bytes(trained: list[TrainedVersion], tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    for version in trained:
        for name in ("model.onnx", "card.json"):
            assert (tmp_path / version.version / name).read_bytes() == (version.folder / name).read_bytes()


def test_the_command_asks_for_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "OUTPUT_DIR" in capsys.readouterr().err
