import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from model_repository_tools.diff import Changes, VersionDiff, diff_versions
from model_repository_tools.inspection import ArtifactKind
from tests.model_repository_tools.graphs import change, save_model, tensor
from tests.model_repository_tools.inspection.folders import PLAN, onnx_version, version


def save_weighted(folder: Path, weights: dict[str, Any], dims: tuple[Any, ...] = ("b", 4), op: str = "Add") -> Path:
    """Save `y = x op w1 op w2 ...`."""
    folder.mkdir(parents=True)
    names = ["x", *(f"h{index}" for index in range(len(weights) - 1)), "y"]
    nodes = [helper.make_node(op, [names[i], name], [names[i + 1]]) for i, name in enumerate(weights)]
    initializers = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    save_model(folder / "model.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)], initializer=initializers)
    return folder


def diff(old: Path, new: Path) -> VersionDiff:
    changes = diff_versions(old, new)
    assert json.loads(json.dumps(changes.to_dict()))["breaks_callers"] == changes.breaks_callers
    return changes


LARGE = np.arange(4000, dtype=np.float32).reshape(1000, 4)


def test_equal_versions_have_no_differences(tmp_path: Path) -> None:
    old, new = (save_weighted(tmp_path / name, {"w": LARGE[0], "v": LARGE[:1]}) for name in ("a", "b"))
    changes = diff(old, new)
    assert changes.kinds == (ArtifactKind.ONNX, ArtifactKind.ONNX)
    assert changes.size_bytes[0] == changes.size_bytes[1]
    assert not any([changes.files, changes.inputs, changes.outputs, changes.weights, changes.operators, changes.config])
    assert changes.structure_changed is False


def test_a_retrained_model_has_other_weights_and_the_same_graph(tmp_path: Path) -> None:
    other = LARGE.copy()
    other[500, 2] += 1
    old = save_weighted(tmp_path / "a", {"small": [1.0] * 4, "same": LARGE, "large": LARGE})
    new = save_weighted(tmp_path / "b", {"small": [2.0] * 4, "same": LARGE, "large": other})
    changes = diff(old, new)
    assert changes.weights == Changes(changed=("large", "small"))
    assert (changes.structure_changed, changes.breaks_callers) == (False, False)
    assert changes.files == Changes(changed=("model.onnx",))


def test_weights_that_came_went_or_changed_shape_are_named(tmp_path: Path) -> None:
    old = save_weighted(tmp_path / "a", {"shape": LARGE[:1], "gone": LARGE[0]})
    new = save_weighted(tmp_path / "b", {"shape": LARGE[0], "new": LARGE[0]})
    changes = diff(old, new)
    assert changes.weights == Changes(added=("new",), removed=("gone",), changed=("shape",))
    assert changes.structure_changed is True


def test_another_operator_is_counted(tmp_path: Path) -> None:
    old = save_weighted(tmp_path / "a", {"w": LARGE[0]})
    new = save_weighted(tmp_path / "b", {"w": LARGE[0]}, op="Mul")
    changes = diff(old, new)
    assert changes.operators == {"Add": (1, 0), "Mul": (0, 1)}
    assert changes.structure_changed is True
    assert not changes.weights


def test_other_inputs_break_callers_and_show_in_the_configuration(tmp_path: Path) -> None:
    old = save_weighted(tmp_path / "a", {"w": [1.0]})
    new = save_weighted(tmp_path / "b", {"w": [1.0]}, dims=("b", 5))
    changes = diff(old, new)
    assert (changes.inputs, changes.outputs) == (Changes(changed=("x",)), Changes(changed=("y",)))
    assert changes.breaks_callers
    assert {"-  dims: 4", "+  dims: 5"} <= set(changes.config)


def test_a_change_of_the_producer_alone_is_no_change_of_the_graph(tmp_path: Path) -> None:
    old, new = (save_weighted(tmp_path / name, {"w": LARGE}) for name in ("a", "b"))
    change(new / "model.onnx", producer_version="9", doc_string="made on a Monday")
    assert diff(old, new).structure_changed is False


def test_external_weights_are_compared_by_their_bytes(tmp_path: Path) -> None:
    folders = [save_weighted(tmp_path / name, {"same": LARGE, "other": LARGE}) for name in ("a", "b")]
    for index, folder in enumerate(folders):
        model = onnx.load(folder / "model.onnx")
        model.graph.initializer[1].CopyFrom(numpy_helper.from_array(LARGE + index, "other"))
        onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    changes = diff(*folders)
    assert changes.weights == Changes(changed=("other",))
    assert changes.files == Changes(changed=("weights.bin",))


@pytest.mark.parametrize("content", [PLAN, b"garbage"])
def test_what_has_no_graph_is_compared_by_its_files(tmp_path: Path, content: bytes) -> None:
    changes = diff(onnx_version(tmp_path / "a"), version(tmp_path / "b", {"model.plan": content}))
    assert changes.kinds == (ArtifactKind.ONNX, ArtifactKind.TENSORRT)
    assert changes.files == Changes(added=("model.plan",), removed=("model.onnx",))
    assert changes.structure_changed is None
