"""One corpus to a Triton and to the gateway: the same status and the same bytes, apart from names.

What is different on purpose is in docs/gateway-differences.md; `_REFUSED` says it here, case by case.
"""

from __future__ import annotations

import gzip
import http.client
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.gateway import Gateway, Key, echo_model, model_entry, server_entry
from tests.support.triton import TritonServer

_NUMBERS = {
    "INT8": "b", "UINT8": "B", "INT16": "h", "UINT16": "H", "INT32": "i", "UINT32": "I", "INT64": "q", "UINT64": "Q",
    "FP16": "e", "FP32": "f", "FP64": "d", "BOOL": "?",
}  # fmt: skip
_CONFIG = """
name: "{name}.v1"
backend: "python"
max_batch_size: 64
input [{{ name: "x" data_type: {dtype} dims: [-1] }}]
output [{{ name: "y" data_type: {dtype} dims: [-1] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
version_policy: {{ specific: {{ versions: [1] }} }}
"""
_ECHO = b"""
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", array)]) for array in inputs]
"""


class Case(NamedTuple):
    """A request, for a model whose name comes with the server."""

    model: str
    body: bytes
    headers: dict[str, str] = {}
    method: str = "POST"
    action: str = "/infer"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def _json(model: str, datatype: str, shape: list[int], data: Any, **more: Any) -> Case:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return Case(model, json.dumps({"inputs": [tensor], **more}).encode())


def _binary(
    model: str, datatype: str, shape: list[int], data: bytes, *, size: int | None = None, **output: Any
) -> Case:
    parameters = {"binary_data_size": len(data) if size is None else size}
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": parameters}
    document: dict[str, Any] = {"inputs": [tensor]}
    if output:
        document["outputs"] = [{"name": "y", "parameters": output}]
    text = json.dumps(document).encode()
    return Case(model, text + data, {"Inference-Header-Content-Length": str(len(text))})


def _texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def _packed(case: Case, encoding: str) -> Case:
    body = gzip.compress(case.body) if encoding == "gzip" else zlib.compress(case.body)
    return case._replace(body=body, headers=case.headers | {"Content-Encoding": encoding})


def _corpus() -> Iterator[Any]:
    for datatype, code in _NUMBERS.items():
        values = [True, False, True, True] if datatype == "BOOL" else [0, 1, 2, 100]
        raw, model = struct.pack(f"<4{code}", *values), datatype.lower()
        for wish in (True, False):
            yield pytest.param(_binary(model, datatype, [2, 2], raw, binary_data=wish), id=f"{model} binary to {wish}")
        yield pytest.param(Case(model, raw, {"Inference-Header-Content-Length": "0"}), id=f"{model} without any JSON")
        if datatype != "FP16":
            yield pytest.param(_json(model, datatype, [1, 4], values), id=f"{model} in JSON")
            yield pytest.param(_json(model, datatype, [2, 2], [values[:2], values[2:]]), id=f"{model} nested")
            asks = {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
            yield pytest.param(_json(model, datatype, [1, 4], values, **asks), id=f"{model} JSON to binary")
    brain = struct.pack("<4H", 0x3F80, 0x4000, 0, 0xBF80)
    yield pytest.param(_binary("uint16", "BF16", [1, 4], brain, binary_data=True), id="BF16 to a model without it")
    texts = _texts(b"a", b"", "ü€".encode(), b'"\\')
    yield pytest.param(_json("bytes", "BYTES", [2, 2], ["a", "", "ü€", '"\\,[']), id="texts in JSON")
    for wish in (True, False):
        yield pytest.param(_binary("bytes", "BYTES", [1, 4], texts, binary_data=wish), id=f"texts binary to {wish}")
    good = _json("fp32", "FP32", [1, 3], [1, 2, 3])
    yield pytest.param(_json("fp32", "FP32", [1, 0], []), id="empty")
    yield pytest.param(_json("fp32", "FP32", [2, 0], [[], []]), id="empty rows")
    yield pytest.param(_binary("fp32", "FP32", [1, 0], b"", binary_data=True), id="empty binary")
    yield pytest.param(_json("fp32", "FP32", [64, 2], [1.5] * 128), id="a full batch")
    yield pytest.param(_json("fp32", "FP32", [1, 40_000], [0.25] * 40_000), id="large JSON")
    yield pytest.param(_binary("fp32", "FP32", [1, 2**20], bytes(2**22), binary_data=True), id="large binary")
    yield pytest.param(_json("fp32", "FP32", [1, 3], [1, 2, 3], id='an "id"model_name":"fp32.v1"'), id="an id")
    yield pytest.param(_json("fp32", "FP32", [1, 3], [1, 2, 3], id="é" * 400), id="a long id")
    yield pytest.param(
        _json("fp32", "FP32", [1, 3], [1, 2, 3], parameters={"a": 1, "b": "x", "c": True, "d": 1.5}), id="parameters"
    )
    yield pytest.param(
        _json("fp32", "FP32", [1, 3], [1, 2, 3], parameters={"binary_data_output": True}), id="all outputs binary"
    )
    yield pytest.param(
        _json("fp32", "FP32", [1, 3], [1, 2, 3], outputs=[{"name": "y", "parameters": {"classification": 2}}]),
        id="classes",
    )
    for encoding in ("gzip", "deflate"):
        yield pytest.param(_packed(good, encoding), id=f"JSON in {encoding}")
        packed = _packed(_binary("fp32", "FP32", [1, 2], bytes(8), binary_data=True), encoding)
        yield pytest.param(packed, id=f"binary in {encoding}")
        accepts = good._replace(headers={"Accept-Encoding": encoding})
        yield pytest.param(accepts, id=f"accepting {encoding}")
        large = _json("fp32", "FP32", [1, 40_000], [0.25] * 40_000)._replace(headers={"Accept-Encoding": encoding})
        yield pytest.param(large, id=f"a large answer in {encoding}")
    yield pytest.param(good._replace(headers={"Content-Type": "text/plain", "X-Anything": "y"}), id="odd headers")
    yield pytest.param(good._replace(action="/versions/1/infer"), id="a version")
    for action in ("", "/config", "/ready", "/versions/1", "/versions/1/config", "/versions/1/ready"):
        yield pytest.param(Case("fp32", b"", {}, "GET", action), id=f"GET {action}")
    # Wrong requests whose answer is Triton's own, or in its words.
    yield pytest.param(_json("fp32", "INT32", [1, 3], [1, 2, 3]), id="another datatype")
    yield pytest.param(_json("fp32", "FP32", [3], [1, 2, 3]), id="another rank")
    yield pytest.param(_json("fp32", "FP32", [65, 1], [1.0] * 65), id="too many rows")
    yield pytest.param(_json("fp32", "FP32", [1, 1], ["a"]), id="a text among numbers")
    yield pytest.param(_json("fp32", "FP32", [1, 1], [None]), id="a null among numbers")
    yield pytest.param(_json("fp32", "FP32", [1, 3], [1, 2, 3], outputs=[{"name": "z"}]), id="an unknown output")
    yield pytest.param(_json("fp32", "FP32", [1, 3], [1, 2, 3], parameters={"a": [1]}), id="a list as parameter")
    yield pytest.param(Case("fp32", b'{"inputs":[]}'), id="no input")
    yield pytest.param(_binary("fp32", "FP32", [1, 2], bytes(12)), id="too many bytes")
    yield pytest.param(_binary("fp32", "FP32", [1, 2], bytes(4)), id="too few bytes")
    yield pytest.param(_binary("bytes", "BYTES", [1, 1], struct.pack("<I", 100) + b"abc"), id="a text cut short")
    yield pytest.param(_binary("fp32", "FP32", [1, 2], bytes(12), size=8), id="bytes nobody asked for")
    unknown = Case(
        "fp32", b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FOO","parameters":{"binary_data_size":4}}]}'
    )
    length = {"Inference-Header-Content-Length": str(len(unknown.body))}
    yield pytest.param(unknown._replace(body=unknown.body + bytes(4), headers=length), id="an unknown datatype")
    nothing = Case("fp32", b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32"}]}')
    yield pytest.param(nothing, id="no data")


_REFUSED = [
    pytest.param(_json("fp32", "FP32", [1, 2], [1, 2, 3]), 400, 500, id="fewer elements than listed"),
    pytest.param(_json("fp32", "FP32", [1, 4], [1, 2, 3]), 400, 500, id="more elements than listed"),
    pytest.param(_json("fp32", "FP32", [-1, -3], [1, 2, 3]), 400, 500, id="negative dimensions"),
    pytest.param(Case("fp32", b"not json"), 400, 500, id="no JSON"),
    pytest.param(Case("fp32", b"{}"), 400, 500, id="no inputs"),
    pytest.param(
        _json("fp32", "FP32", [1, 1], [1], parameters={"sequence_id": -1}), 400, 500, id="a sequence below zero"
    ),
]

_KILLERS = {
    "a product that overflows": _json("fp32", "FP32", [9223372036854775807, 64], [1]),
    "more elements than were sent": _json("fp32", "FP32", [1_000_000_000, 64], [1]),
    "deep nesting": Case("fp32", b"[" * 200_000),
    "a classification of texts": _json(
        "bytes", "BYTES", [1, 2], ["a", "b"], outputs=[{"name": "y", "parameters": {"classification": 1}}]
    ),
}


@pytest.fixture(scope="module")
def models(triton: TritonServer) -> TritonServer:
    """The shared Triton with an echo for each datatype."""
    for datatype in (*_NUMBERS, "BYTES"):
        dtype = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
        name = datatype.lower()
        triton.add_model(f"{name}.v1", _CONFIG.format(name=name, dtype=dtype), {"1/model.py": _ECHO})
        triton.load(f"{name}.v1")
    return triton


@pytest.fixture(scope="module")
def key(models: TritonServer, gateway: Gateway) -> Key:
    """A key; the gateway knows the models from here on, at a server of their own."""
    entries = [model_entry(_model(datatype, number)) for number, datatype in enumerate((*_NUMBERS, "BYTES"), start=100)]
    gateway.order(server_entry(9, http=models.http_address, grpc=models.grpc_url), *entries)
    return gateway.new_key()


def _model(datatype: str, number: int) -> Any:
    entry = echo_model(servers=(9,), slug=datatype.lower(), number=number, aliases={"production": 1})
    version = entry.versions[1]
    tensors = [tuple(replace(spec, datatype=datatype) for spec in specs) for specs in (version.inputs, version.outputs)]
    return replace(entry, versions={1: replace(version, inputs=tensors[0], outputs=tensors[1])})


def _ask(address: tuple[str, int], case: Case, model: str, headers: dict[str, str]) -> Reply:
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request(case.method, f"/v2/models/{model}{case.action}", case.body or None, case.headers | headers)
        answer = connection.getresponse()
        body = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()
    if (encoding := found.get("content-encoding")) is not None:
        body = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body)
    return Reply(answer.status, found, body)


def _both(models: TritonServer, gateway: Gateway, key: Key, case: Case) -> tuple[Reply, Reply]:
    host, _, port = models.http_address.partition(":")
    direct = _ask((host, int(port)), case, f"{case.model}.v1", {})
    return direct, _ask(gateway.address, case, case.model, key.header)


def _public(case: Case, reply: Reply) -> bytes:
    if case.method == "GET":
        return reply.body.replace(b'"name":"%b.v1"' % case.model.encode(), b'"name":"%b"' % case.model.encode(), 1)
    name = b'"model_name":"%b.v1"' % case.model.encode()
    return reply.body.replace(name, b'"model_name":"%b"' % case.model.encode(), 1)


def _assert_alike(case: Case, direct: Reply, ours: Reply) -> None:
    assert ours.status == direct.status
    expected = _public(case, direct)
    if direct.status >= 400:
        expected = expected.replace(f"{case.model}.v1".encode(), case.model.encode())
    assert ours.body == expected
    if direct.status < 400:
        shift = len(expected) - len(direct.body)
        json_bytes = direct.headers.get("inference-header-content-length")
        assert ours.headers.get("content-type") == direct.headers.get("content-type")
        assert ours.headers.get("inference-header-content-length") == (json_bytes and str(int(json_bytes) + shift))


@pytest.mark.parametrize("case", list(_corpus()))
def test_an_answer_is_the_one_that_triton_gives(models: TritonServer, gateway: Gateway, key: Key, case: Case) -> None:
    _assert_alike(case, *_both(models, gateway, key, case))


@pytest.mark.parametrize(("case", "here", "there"), _REFUSED)
def test_what_is_refused_here_is_what_the_list_says(
    models: TritonServer, gateway: Gateway, key: Key, case: Case, here: int, there: int
) -> None:
    direct, ours = _both(models, gateway, key, case)

    assert (ours.status, direct.status) == (here, there)
    assert list(json.loads(ours.body)) == ["error"]


@pytest.mark.parametrize("case", _KILLERS.values(), ids=_KILLERS)
def test_what_kills_a_triton_is_refused(models: TritonServer, gateway: Gateway, key: Key, case: Case) -> None:
    assert _ask(gateway.address, case, case.model, key.header).status == 400
    good = _json("fp32", "FP32", [1, 1], [1])
    assert _ask(gateway.address, good, "fp32", key.header).status == 200


_DIMENSION = st.integers(min_value=0, max_value=6)
_VALUE = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.none(),
    st.text(max_size=3),
)
_DATA = st.recursive(st.lists(_VALUE, max_size=6), lambda inner: st.lists(inner, max_size=3), max_leaves=8)


@st.composite
def _requests(draw: st.DrawFn) -> Case:
    """Requests that are nearly right."""
    tensor: dict[str, Any] = {
        "name": draw(st.sampled_from(["x", "x", "x", "z", ""])),
        "shape": draw(st.lists(_DIMENSION, max_size=4)),
        "datatype": draw(st.sampled_from(["FP32", "FP32", "INT32", "BYTES"])),
        "data": draw(_DATA),
    }
    document: dict[str, Any] = {"inputs": [tensor] * draw(st.integers(0, 2))}
    if draw(st.booleans()):
        document["id"] = draw(st.text(max_size=8))
    if draw(st.booleans()):
        document["outputs"] = [{"name": draw(st.sampled_from(["y", "y", "z"]))}]
    return Case("fp32", json.dumps(document).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=_requests())
def test_requests_that_are_nearly_right_end_alike_or_are_refused_here(
    models: TritonServer, gateway: Gateway, key: Key, case: Case
) -> None:
    ours = _ask(gateway.address, case, case.model, key.header)
    if "x-error-code" in ours.headers and ours.headers["x-error-code"].startswith("request."):
        assert ours.status == 400
        return
    host, _, port = models.http_address.partition(":")
    _assert_alike(case, _ask((host, int(port)), case, "fp32.v1", {}), ours)
