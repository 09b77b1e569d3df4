import json

import msgspec
import pytest

from controlplane.gateway.dataplane import shield
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.route import Route
from controlplane.gateway.dataplane.sequences import SequenceIds
from controlplane.gateway.dataplane.shield import CheckedEnvelope
from controlplane.wire.snapshot import TensorSpec, VersionRoute
from controlplane.wire.usage import Arm
from tests.support.gateway import echo_model

_OUTPUTS = (TensorSpec("y", "FP32", (-1, -1)), TensorSpec("label", "BYTES", (-1, 1)))
_IDS = SequenceIds(b"pepper")


def _route(outputs: tuple[TensorSpec, ...] = _OUTPUTS) -> Route:
    return Route(echo_model(), VersionRoute(1, "1.0.0", "echo.v1", (1,), True, (), outputs), Arm.STABLE)


def check_envelope(text: bytes, route: Route | None = None, organisation: str = "org") -> CheckedEnvelope:
    return shield.check_envelope(text, route or _route(), lambda given: _IDS.enter(organisation, given))


def check_generate(text: bytes) -> CheckedEnvelope:
    return shield.check_generate(text, _route(), lambda given: _IDS.enter("org", given))


def _request(shape: str = "[1,3]", data: str = "[1,2,3]", more: str = "") -> bytes:
    return f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"FP32","data":{data}}}]{more}}}'.encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_request("[9223372036854775807,64]"), id="a product that overflows"),
        pytest.param(_request("[99999999999999999999999999]"), id="a dimension that overflows"),
        pytest.param(_request("[1000000000,64]"), id="more elements than were sent"),
        pytest.param(_request("[-1,-3]"), id="negative dimensions"),
        pytest.param(_request("[1,3.0]"), id="a fraction as dimension"),
        pytest.param(_request("[1,2]"), id="fewer elements than were sent"),
        pytest.param(_request("[9223372036854775807,0]", "[]"), id="a dimension beyond reason without an element"),
        pytest.param(_request("[" + ",".join(["1"] * 33) + "]", "[1]"), id="too many dimensions"),
        pytest.param(b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}', id="no data"),
        pytest.param(b"[" * 200_000, id="deep nesting"),
        pytest.param(_request(data="[" * 100_000 + "]" * 100_000), id="deep nesting in the data"),
        pytest.param(_request(more=',"parameters":' + '{"a":' * 50_000 + "1" + "}" * 50_001), id="deep parameters"),
        pytest.param(_request(data="[" * 100_000 + "NaN" + "]" * 100_000), id="deep nesting around a NaN"),
        pytest.param(b"nope", id="no JSON"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"NaN", id="only a NaN"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"id":"a"}', id="no inputs"),
        pytest.param(_request(more=',"id":5'), id="an id that is no text"),
        pytest.param(_request() + b" trailing", id="text after the document"),
    ],
)
def test_a_request_that_could_kill_a_triton_or_is_none_at_all_is_refused(text: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        check_envelope(text)

    assert refused.value.http_status == 400


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"a"}}]}',
        _request(more=',"parameters":{"shared_memory_offset":1}'),
        _request(more=',"outputs":[{"name":"y","parameters":{"shared_memory_region":"a"}}]'),
    ],
)
def test_shared_memory_is_refused_wherever_it_is_asked_for(text: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        check_envelope(text)

    assert (refused.value.http_status, refused.value.code) == (403, "shared_memory.forbidden")


@pytest.mark.parametrize("given", [7, 2**64 - 1, "a text"])
def test_the_id_of_a_sequence_is_moved_into_its_organisations_part(given: int | str) -> None:
    text = _request(more=f',"parameters":{{"sequence_id":{json.dumps(given)},"sequence_start":true}}')

    ours, again, theirs = check_envelope(text), check_envelope(text), check_envelope(text, organisation="other")

    assert ours == again
    assert ours.sequence is not None
    assert theirs.sequence is not None
    assert ours.sequence.given == given
    assert type(ours.sequence.inner) is type(given)
    assert len({given, ours.sequence.inner, theirs.sequence.inner}) == 3
    parameters = msgspec.json.decode(ours.text)["parameters"]
    assert parameters == {"sequence_id": ours.sequence.inner, "sequence_start": True}


def test_a_number_and_a_text_that_read_alike_are_two_sequences() -> None:
    assert str(_IDS.enter("org", 7).inner) != _IDS.enter("org", "7").inner


@pytest.mark.parametrize("given", ["-1", "1.5", "true", "null", "[1]", str(2**64)])
def test_an_id_that_is_neither_text_nor_number_is_refused(given: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_envelope(_request(more=f',"parameters":{{"sequence_id":{given}}}'))

    assert refused.value.http_status == 400


@pytest.mark.parametrize("given", ["0", '""'])
def test_the_ids_that_mean_no_sequence_pass_as_they_are(given: str) -> None:
    assert check_envelope(_request(more=f',"parameters":{{"sequence_id":{given}}}')).sequence is None


def test_a_sequence_named_at_a_tensor_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        check_envelope(_request(more=',"outputs":[{"name":"y","parameters":{"sequence_id":7}}]'))

    assert refused.value.http_status == 501


@pytest.mark.parametrize(
    "data",
    ["[1,2,3]", "[[1],[2],[3]]", "[[[1, 2], []], [[3]]]", '["a,b","[","]"]', '["\\"","\\\\",","]', "[ 1 , 2 , 3 ]"],
)
def test_values_are_counted_whatever_their_nesting(data: str) -> None:
    check_envelope(_request(data=data))
    for shape in ("[2]", "[4]"):
        with pytest.raises(RefusedError):
            check_envelope(_request(shape, data))


@pytest.mark.parametrize("data", ["[]", "[[],[]]", "[ [ ] ]", "[                    ]"])
def test_empty_lists_hold_no_value(data: str) -> None:
    assert check_envelope(_request("[2,0]", data)).rows == 2
    with pytest.raises(RefusedError):
        check_envelope(_request("[1]", data))


def test_outputs_are_held_against_those_the_version_has() -> None:
    with pytest.raises(RefusedError) as refused:
        check_envelope(_request(more=',"outputs":[{"name":"zzz"}]'))
    assert refused.value.message == "unexpected inference output 'zzz' for model 'echo'"

    unknown = _route(outputs=())
    assert check_envelope(_request(more=',"outputs":[{"name":"zzz"}]'), unknown).rows == 1


def test_only_numbers_are_classified() -> None:
    def classify(output: str, count: int = 2) -> bytes:
        return _request(more=f',"outputs":[{{"name":"{output}","parameters":{{"classification":{count}}}}}]')

    assert check_envelope(classify("y")).rows == 1
    assert check_envelope(classify("label", 0)).rows == 1
    for text, route in ((classify("label"), _route()), (classify("y"), _route(outputs=()))):
        with pytest.raises(RefusedError) as refused:
            check_envelope(text, route)
        assert refused.value.code == "request.not_classifiable"


def test_a_generate_request_is_checked_on_both_its_levels() -> None:
    checked = check_generate(b'{"id":"abc","text_input":"x","n":[1,2],"parameters":{"sequence_id":5,"priority":1}}')

    assert (checked.id_chars, checked.rows) == (3, 1)
    assert checked.sequence is not None
    assert msgspec.json.decode(checked.text) == {
        "id": "abc",
        "text_input": "x",
        "n": [1, 2],
        "parameters": {"sequence_id": checked.sequence.inner, "priority": 1},
    }
    above = check_generate(b'{"sequence_id":5}')
    assert above.sequence == checked.sequence


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b'{"parameters":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b"[]", 400),
        (b"", 400),
        (b"\xff", 400),
        (b'{"parameters":5}', 400),
        (b'{"shared_memory_region":"a"}', 403),
        (b'{"parameters":{"shared_memory_region":"a"}}', 403),
    ],
)
def test_a_generate_request_that_could_do_harm_is_refused(text: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        check_generate(text)

    assert refused.value.http_status == status


def test_what_is_forwarded_is_what_was_checked_and_not_what_another_parser_might_read() -> None:
    twice = b'{"inputs":[{"name":"x","shape":[1],"shape":[1],"datatype":"FP32","data":[7]}],"inputs":[]}'

    forwarded = msgspec.json.decode(check_envelope(twice).text)

    assert forwarded == {"inputs": []}


def test_values_and_parameters_pass_as_the_client_wrote_them() -> None:
    text = _request("[3]", "[1.0e+00, 0.1, 12345678901234567890]", ',"id":"a\\"b","parameters":{"priority":1,"x":"y"}')

    envelope = check_envelope(text)

    assert b"[1.0e+00, 0.1, 12345678901234567890]" in envelope.text
    assert msgspec.json.decode(envelope.text) == msgspec.json.decode(text)
    assert (envelope.rows, envelope.id_chars) == (3, 3)


def test_nan_and_infinities_pass_as_triton_takes_them() -> None:
    text = _request("[1,4]", "[NaN, Inf, -Infinity, 1.5]", ',"id":"Inf"')

    envelope = check_envelope(text)

    assert b'"data":[NaN,Infinity,-Infinity,1.5]' in envelope.text
    assert b'"id":"Inf"' in envelope.text


def test_binary_tensors_are_held_against_their_announced_size() -> None:
    def binary(shape: str, size: object) -> bytes:
        tensor = f'{{"name":"x","shape":{shape},"datatype":"UINT8","parameters":{{"binary_data_size":{size}}}}}'
        return f'{{"inputs":[{tensor}]}}'.encode()

    assert check_envelope(binary("[4,2]", 8)).rows == 4
    bad_sizes = (
        ("[4,3]", 8),
        ("[4,1]", 8),
        ("[1]", '"8"'),
        ("[1]", "1.5"),
        ("[1]", -1),
        ("[9223372036854775807,2]", 0),
    )
    for bad in (binary(shape, size) for shape, size in bad_sizes):
        with pytest.raises(RefusedError):
            check_envelope(bad)


def test_scalars_and_empty_tensors_are_fine() -> None:
    assert check_envelope(_request("[]", "[1]")).rows == 1
    assert check_envelope(_request("[1,0]", "[]")).rows == 1
