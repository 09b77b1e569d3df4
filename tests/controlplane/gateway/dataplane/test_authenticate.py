import time

import pytest

from controlplane.gateway.dataplane.authenticate import Authenticator, key_text, may_use
from controlplane.gateway.dataplane.refusals import RefusedError
from controlplane.gateway.orders import Orders
from controlplane.wire.keys import ParsedKey, generate_key, hash_key
from controlplane.wire.snapshot import KeyEntry

_PEPPER = b"pepper"


@pytest.fixture
def orders() -> Orders:
    return Orders()


@pytest.fixture
def authenticator(orders: Orders) -> Authenticator:
    return Authenticator(orders, _PEPPER)


def _add(orders: Orders, **fields: object) -> ParsedKey:
    key = generate_key("test")
    orders.keys[key.key_id] = KeyEntry(1, hash_key(key.text, _PEPPER), "org", "project", **fields)  # type: ignore[arg-type]
    return key


def _code(authenticator: Authenticator, credential: bytes | None) -> str:
    with pytest.raises(RefusedError) as refused:
        authenticator.authenticate(credential)
    assert refused.value.http_status == 401
    return refused.value.code


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer  {} ", " {}"])
def test_a_key_is_recognised_in_either_header(orders: Orders, authenticator: Authenticator, form: str) -> None:
    key = _add(orders)

    for _ in range(2):
        assert authenticator.authenticate(form.format(key.text).encode()) is orders.keys[key.key_id]


def test_wrong_keys_and_unknown_keys_look_alike(orders: Orders, authenticator: Authenticator) -> None:
    known, unknown = _add(orders), generate_key("test")
    same_id = generate_key("test")
    orders.keys[same_id.key_id] = orders.keys[known.key_id]
    wrong = (
        unknown.text,
        same_id.text,
        known.text[:-1] + ("y" if known.text.endswith("x") else "x"),
        "Basic abc",
        "\u00ff",
        "k" * 5000,
    )

    assert {_code(authenticator, text.encode("latin-1")) for text in wrong} == {"key.invalid"}
    assert _code(authenticator, None) == _code(authenticator, b"") == "key.missing"


def test_a_revoked_key_is_refused_at_once_although_it_was_remembered(
    orders: Orders, authenticator: Authenticator
) -> None:
    key = _add(orders)
    authenticator.authenticate(key.text.encode())

    del orders.keys[key.key_id]

    assert _code(authenticator, key.text.encode()) == "key.invalid"


def test_a_rotated_key_is_refused_although_its_id_lives_on(orders: Orders, authenticator: Authenticator) -> None:
    key = _add(orders)
    authenticator.authenticate(key.text.encode())

    orders.keys[key.key_id] = KeyEntry(1, hash_key("another", _PEPPER), "org", "project")

    assert _code(authenticator, key.text.encode()) == "key.invalid"


def test_a_key_expires_by_our_own_clock(orders: Orders, authenticator: Authenticator) -> None:
    assert _code(authenticator, _add(orders, expires_at_s=time.time() - 1).text.encode()) == "key.expired"
    authenticator.authenticate(_add(orders, expires_at_s=time.time() + 60).text.encode())


@pytest.mark.parametrize(
    ("patterns", "slug", "allowed"),
    [
        (("*",), "digits", True),
        (("digits",), "digits", True),
        (("digits",), "digits2", False),
        (("dig*", "x"), "digits", True),
        (("*.small",), "a.small", True),
        (("*.small",), "a-small", False),
        ((), "digits", False),
    ],
)
def test_an_allow_list_matches_whole_names(patterns: tuple[str, ...], slug: str, allowed: bool) -> None:
    assert may_use(KeyEntry(1, b"", "o", "p", models=patterns), slug) is allowed


def test_the_key_text_is_what_follows_bearer() -> None:
    assert key_text(b"Bearer abc") == key_text(b"abc") == "abc"
