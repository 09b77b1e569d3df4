"""Train the demo: two versions of `digits`, each as model.onnx with a card.json that says how good it is.

    python -m triton_models.digits.train OUTPUT_DIR

1.0.0 is a linear model, 1.1.0 a small neural network that is better. Both take `image`, the 64 raw pixels of an 8 x 8
picture (0 to 16), and return `probabilities` of the ten digits and the most probable one as `label`. The same seed
gives the same bytes on the same releases of scikit-learn and skl2onnx.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sklearn
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from model_repository_tools.golden import GoldenSample, reference_outputs
from model_repository_tools.tensors import Array, from_json_tensor, to_json_tensor

SEED = 7
TEST_SHARE = 0.25
GOLDEN_SAMPLES = 3
OPSET = {"": 17, "ai.onnx.ml": 3}  # known to every onnxruntime since 1.12, so to every Triton container since 22.09

_ESTIMATORS: dict[str, Any] = {
    "1.0.0": LogisticRegression(max_iter=1000, random_state=SEED),
    "1.1.0": MLPClassifier(hidden_layer_sizes=(64,), max_iter=400, random_state=SEED),
}
_TITLES = {"1.0.0": "linear: multinomial logistic regression", "1.1.0": "neural network: one hidden layer of 64"}


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """One trained version: `folder` holds model.onnx and card.json, `card` is what the latter says."""

    version: str
    folder: Path
    model: Path
    card: dict[str, Any]

    @property
    def golden_samples(self) -> tuple[GoldenSample, ...]:
        """Real digits, with the answers this version must give."""
        return tuple(GoldenSample.from_dict(sample) for sample in self.card["golden"])


@dataclass(frozen=True, slots=True)
class _Split:
    """Shapes: `*_images` (n, 64) float32, 0 to 16; `*_labels` (n,) int64."""

    train_images: Array
    test_images: Array
    train_labels: Array
    test_labels: Array


def train(output: Path) -> list[TrainedVersion]:
    """Train all versions into `<output>/<version>/{model.onnx,card.json}`; takes a few seconds.

    Raises:
        RuntimeError: The exported graph does not compute what was trained.
    """
    split = _load()
    # One thread: sums come out the same on any number of cores, and threads only wait for each other in so little work.
    with threadpool_limits(1):
        return [_train_version(version, split, output / version) for version in _ESTIMATORS]


def _load() -> _Split:
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images.astype(np.float32), labels, test_size=TEST_SHARE, random_state=SEED, stratify=labels
    )
    return _Split(*parts)


def _train_version(version: str, split: _Split, folder: Path) -> TrainedVersion:
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", sklearn.clone(_ESTIMATORS[version]))])
    pipeline.fit(split.train_images, split.train_labels)
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.onnx"
    model.write_bytes(_export(pipeline))
    probabilities = _run(model, split.test_images)["probabilities"]
    if not np.allclose(probabilities, pipeline.predict_proba(split.test_images), atol=1e-4):
        raise RuntimeError(f"the ONNX graph of digits {version} does not compute what was trained")
    card = _card(version, pipeline, model, split, float(np.mean(probabilities.argmax(1) == split.test_labels)))
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return TrainedVersion(version, folder, model, card)


def _export(pipeline: Pipeline) -> bytes:
    """Return the graph: scaling inside, probabilities as a plain tensor, `label` with an axis of its own.

    scikit-learn's label has the shape [batch]. Triton has no rows without dimensions: it would need a `reshape` in
    config.pbtxt, which [batch, 1] spares everyone who reads it.
    """
    example = np.zeros((1, 64), dtype=np.float32)
    model = to_onnx(pipeline, example, options={"zipmap": False}, target_opset=OPSET)
    graph = model.graph
    graph.name = "digits"
    for node in graph.node:
        node.input[:] = ["image" if name == "X" else name for name in node.input]
        node.output[:] = ["flat_label" if name == "label" else name for name in node.output]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], dtype=np.int64), "label_axis"))
    graph.node.append(onnx.helper.make_node("Unsqueeze", ["flat_label", "label_axis"], ["label"], "add_label_axis"))
    types = onnx.TensorProto
    del graph.input[:], graph.output[:]
    graph.input.append(onnx.helper.make_tensor_value_info("image", types.FLOAT, ["batch", 64]))
    graph.output.append(onnx.helper.make_tensor_value_info("probabilities", types.FLOAT, ["batch", 10]))
    graph.output.append(onnx.helper.make_tensor_value_info("label", types.INT64, ["batch", 1]))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _run(model: Path, images: Array) -> dict[str, Array]:
    outputs = reference_outputs(model, [to_json_tensor("image", images)])
    return {output["name"]: from_json_tensor(output) for output in outputs}


def _card(version: str, pipeline: Pipeline, model: Path, split: _Split, test_accuracy: float) -> dict[str, Any]:
    estimator = pipeline.named_steps["classify"]
    return {
        "name": "digits",
        "version": version,
        "title": f"Handwritten digits, {_TITLES[version]}",
        "task": "image-classification",
        "framework": f"scikit-learn {sklearn.__version__}",
        "metrics": {
            "test_accuracy": round(test_accuracy, 4),
            "train_accuracy": round(float(pipeline.score(split.train_images, split.train_labels)), 4),
        },
        "dataset": {
            "name": "Optical Recognition of Handwritten Digits (UCI), as bundled with scikit-learn",
            "notes": "1,797 pictures of 8 x 8 pixels, each 0 to 16; a stratified quarter is held out for the test.",
            "train_samples": len(split.train_labels),
            "test_samples": len(split.test_labels),
        },
        "training": {
            "estimator": type(estimator).__name__,
            "parameters": {key: value for key, value in estimator.get_params().items() if value is not None},
            "seed": SEED,
        },
        "golden": [_golden(model, image).to_dict() for image in split.test_images[:GOLDEN_SAMPLES]],
        "golden_labels": [int(label) for label in split.test_labels[:GOLDEN_SAMPLES]],
    }


def _golden(model: Path, image: Array) -> GoldenSample:
    inputs = (to_json_tensor("image", image[np.newaxis]),)
    return GoldenSample(inputs, reference_outputs(model, inputs))


def main(arguments: list[str]) -> int:
    """Train into the folder named on the command line and say how good the versions are."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m triton_models.digits.train OUTPUT_DIR\n")
        return 2
    for trained in train(Path(arguments[0])):
        sys.stdout.write(f"digits {trained.version}: test accuracy {trained.card['metrics']['test_accuracy']:.4f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
