"""The form of API keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.wire.errors import InvalidError
from controlplane.wire.keys import API_KEY, CONTROL_TOKEN, GATEWAY_TOKEN, generate_key, hash_key, parse_key, same_hash


@pytest.mark.parametrize("prefix", [API_KEY, CONTROL_TOKEN, GATEWAY_TOKEN])
def test_a_generated_key_reads_back_as_its_own_kind_only(prefix: str) -> None:
    key = generate_key("live", prefix)
    assert parse_key(key.text, prefix) == key
    for other in {API_KEY, CONTROL_TOKEN, GATEWAY_TOKEN} - {prefix}:
        assert parse_key(key.text, other) is None


@given(st.integers(min_value=0, max_value=74), st.sampled_from("0aZ_"))
def test_any_single_mistyped_character_breaks_the_checksum(position: int, character: str) -> None:
    text = generate_key("live").text
    position %= len(text)
    mistyped = text[:position] + character + text[position + 1 :]
    assert mistyped == text or parse_key(mistyped) is None


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize("environment", ["", "Live", "1live", "live_1", "x" * 17])
def test_an_environment_of_the_wrong_form_is_refused(environment: str) -> None:
    with pytest.raises(InvalidError, match="no key environment"):
        generate_key(environment)


def test_two_keys_differ_and_the_secret_is_not_in_the_repr() -> None:
    first, second = generate_key("live"), generate_key("live")
    assert first.text != second.text
    assert first.text not in repr(first)


def test_the_hash_depends_on_the_pepper() -> None:
    text = generate_key("live").text
    assert not same_hash(hash_key(text, b"one pepper"), hash_key(text, b"another"))
    assert same_hash(hash_key(text, b"one pepper"), hash_key(text, b"one pepper"))
