import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from model_repository_tools.inspection import ArtifactKind, VersionInspection, inspect_onnx, inspect_version
from model_repository_tools.inspection.carried_code import find_code
from model_repository_tools.inspection.version import examine_version
from model_repository_tools.sandbox import Network
from tests.model_repository_tools.graphs import save_double, save_model, tensor
from tests.model_repository_tools.inspection.folders import ENSEMBLE, PICKLE, PLAN, PYTHON, onnx_version, version


def codes(inspection: VersionInspection) -> list[str]:
    return [finding.code for finding in inspection.findings]


def test_a_folder_with_a_graph_is_an_onnx_model(tmp_path: Path) -> None:
    folder = onnx_version(tmp_path / "v", labels__txt=b"cat\ndog\n")
    found = inspect_version(folder)
    assert (found.kind, found.model_file, found.findings) == (ArtifactKind.ONNX, "model.onnx", ())
    assert found.onnx == inspect_onnx(folder / "model.onnx")
    assert [spec.name for spec in (*found.inputs, *found.outputs)] == ["x", "y"]
    assert [name for name, _ in found.files] == ["labels.txt", "model.onnx"]
    assert found.size_bytes == sum(size for _, size in found.files)
    assert found.is_servable()
    assert not found.carries_code


def test_the_child_and_this_process_see_the_same(tmp_path: Path) -> None:
    for name, files in {"e": {"config.pbtxt": ENSEMBLE}, "p": {"model.py": PYTHON}, "t": {"model.plan": PLAN}}.items():
        folder = version(tmp_path / name, files)
        seen = inspect_version(folder)
        assert seen.network in Network
        assert seen.to_dict() == examine_version(folder).to_dict()
        assert VersionInspection.from_dict(json.loads(json.dumps(seen.to_dict())), seen.network) == seen


def test_a_plan_tells_its_version_and_nothing_is_verified(tmp_path: Path) -> None:
    found = inspect_version(version(tmp_path / "v", {"model.plan": PLAN}))
    assert found.kind is ArtifactKind.TENSORRT
    assert found.tensorrt is not None
    assert (found.tensorrt.header_version, found.tensorrt.version) == ("10.3.0.26", "10.3.0.26")
    assert codes(found) == ["tensorrt.unverified"]
    assert found.is_servable()


@pytest.mark.parametrize("content", [b"", b"ftrt", b"\x93\0\0\0{}" + PLAN, bytes(100)])
def test_a_plan_without_its_mark_is_a_finding(tmp_path: Path, content: bytes) -> None:
    assert codes(inspect_version(version(tmp_path / "v", {"model.plan": content}))) == ["tensorrt.not_a_plan"]


def test_a_plan_of_a_format_of_the_future_tells_no_version(tmp_path: Path) -> None:
    plan = PLAN[:4] + b"\1\0\0\0" + PLAN[8:]
    found = inspect_version(version(tmp_path / "v", {"model.plan": plan}))
    assert found.tensorrt is not None
    assert found.tensorrt.version == ""
    assert codes(found) == ["tensorrt.unverified", "tensorrt.unknown_version"]


def test_a_python_model_is_read_and_never_run(tmp_path: Path) -> None:
    found = inspect_version(version(tmp_path / "v", {"model.py": PYTHON}))
    assert (found.kind, codes(found)) == (ArtifactKind.PYTHON, ["code.python_backend"])
    assert found.python is not None
    assert found.python.methods == ("execute", "initialize")
    assert found.python.imports == ("json", "numpy", "os", "triton_python_backend_utils")
    assert found.carries_code
    assert not found.is_servable()
    assert found.is_servable(allow_code=True)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (b"def execute(: pass", "python.syntax"),
        (b"\0", "python.syntax"),
        (b"x = 1", "python.no_model"),
        (b"class TritonPythonModel: pass", "python.no_execute"),
        (b"#" * (1 << 20) + b"\n", "python.too_large"),
    ],
)
def test_a_python_model_that_cannot_be_one_is_a_finding(tmp_path: Path, source: bytes, code: str) -> None:
    found = inspect_version(version(tmp_path / "v", {"model.py": source}))
    assert codes(found) == ["code.python_backend", code]
    assert not found.is_servable(allow_code=True)


@pytest.mark.parametrize("source", [b"(" * 100_000, b"-" * 500_000 + b"1", b"x" + b".a" * 300_000])
def test_a_source_made_to_crash_its_parser_is_a_finding(tmp_path: Path, source: bytes) -> None:
    found = inspect_version(version(tmp_path / "v", {"model.py": source}))
    assert not found.is_servable(allow_code=True)


def test_an_ensemble_needs_no_file_but_its_configuration(tmp_path: Path) -> None:
    found = inspect_version(version(tmp_path / "v", {"config.pbtxt": ENSEMBLE}))
    assert (found.kind, found.model_file, found.findings) == (ArtifactKind.ENSEMBLE, "", ())
    assert found.has_config


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"readme.md": b"hello"}, "version.no_model"),
        ({"config.pbtxt": b'name: "m"'}, "version.no_model"),
        ({"a.onnx": b"x", "b.onnx": b"x"}, "version.ambiguous"),
        ({"model.plan": PLAN, "model.py": PYTHON}, "version.ambiguous"),
    ],
)
def test_a_folder_without_exactly_one_model_is_a_finding(tmp_path: Path, files: dict[str, bytes], code: str) -> None:
    found = inspect_version(version(tmp_path / "v", files))
    assert found.kind is ArtifactKind.UNKNOWN
    assert code in codes(found)


def test_a_folder_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    assert codes(inspect_version(tmp_path / "missing")) in (["version.no_model"], ["inspection.unreadable"])


def test_a_link_in_a_version_is_a_finding(tmp_path: Path) -> None:
    folder = onnx_version(tmp_path / "v")
    (folder / "weights.bin").symlink_to("/etc/passwd")
    assert codes(inspect_version(folder)) == ["path.not_a_file"]


def torch_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(1))
    return buffer.getvalue()


def object_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([None], dtype=object))
    return buffer.getvalue()


def plain_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(10))
    return buffer.getvalue()


CODE = [
    ("weights.bin", PICKLE, "code.pickle"),
    ("weights.bin", pickle.dumps({"a": print}, protocol=2), "code.pickle"),
    ("weights.bin", pickle.dumps(print, protocol=0), "code.pickle"),
    ("weights.bin", b"(S'ls'\nios\nsystem\n.", "code.pickle"),
    ("weights.bin", pickle.dumps([print] + [list(range(100))] * 5000, protocol=0), "code.pickle"),
    ("weights.bin", torch_archive(), "code.pickle"),
    ("weights.npy", object_array(), "code.pickle"),
    ("model.pt", b"anything", "code.pickle"),
    ("deep/er/w.joblib", b"anything", "code.pickle"),
    ("libops.so", b"anything", "code.native_library"),
    ("libops.so.1.2", b"anything", "code.native_library"),
    ("data.bin", b"\x7fELF\2\1\1", "code.native_library"),
    ("data.bin", b"MZ\x90", "code.native_library"),
    ("triton_python_backend_stub", b"anything", "code.backend_stub"),
    ("setup.py", b"import os", "code.script"),
    ("run", b"#!/bin/sh\nrm -rf /", "code.script"),
    ("graph.pb", b"anything", "code.graph"),
    ("env.tar.gz", b"\x1f\x8b\x08", "version.nested_archive"),
]


@pytest.mark.parametrize(("name", "content", "code"), CODE)
def test_code_is_found_whatever_it_is_called(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    folder = onnx_version(tmp_path / "v")
    found = examine_version(version(folder, {name: content}))
    assert codes(found) == [code]
    assert found.carries_code == code.startswith("code.")
    assert found.is_servable(allow_code=True)


HARMLESS = {
    "labels.txt": b"cat\ndog\nbird\nRat\n" * 3,
    "vocab.txt": b"c\nb\nR\n.\n",
    "array.npy": plain_array(),
    "weights.bin": np.random.default_rng(1).standard_normal(5000).astype(np.float32).tobytes(),
    "negative.bin": b"\x80\x03" + bytes(range(200, 256)) * 20,
    "notes.json": b"{}",
    "empty": b"",
    "tokenizer.model": b"\x0a\x05hello",
}


def test_plain_data_is_not_taken_for_code(tmp_path: Path) -> None:
    folder = version(tmp_path / "v", HARMLESS)
    assert not list(find_code(folder, list(HARMLESS), ""))


@pytest.mark.parametrize("operator", ["PythonOp", "EPContext", "ATen"])
def test_an_operator_that_reaches_outside_the_graph_is_code(tmp_path: Path, operator: str) -> None:
    (tmp_path / "v").mkdir()
    node = helper.make_node(operator, ["x"], ["y"], domain="com.microsoft")
    save_model(tmp_path / "v/model.onnx", [node], [tensor("x", [1])], [tensor("y", [1])])
    found = inspect_version(tmp_path / "v")
    assert codes(found) == ["code.operator"]


def test_a_model_under_another_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    save_double(tmp_path / "v" / "net.onnx")
    assert inspect_version(tmp_path / "v").model_file == "net.onnx"
