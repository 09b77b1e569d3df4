import msgspec
import pytest

from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.dataplane.shield import check_envelope


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


def test_sequences_are_refused_because_their_ids_belong_to_all_clients() -> None:
    with pytest.raises(RefusedError) as refused:
        check_envelope(_request(more=',"parameters":{"sequence_id":7}'))

    assert refused.value.http_status == 501


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
    for bad in (binary("[4,3]", 8), binary("[1]", '"8"'), binary("[1]", "1.5")):
        with pytest.raises(RefusedError):
            check_envelope(bad)


def test_scalars_and_empty_tensors_are_fine() -> None:
    assert check_envelope(_request("[]", "[1]")).rows == 1
    assert check_envelope(_request("[1,0]", "[]")).rows == 1
