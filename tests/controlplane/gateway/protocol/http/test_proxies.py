import pytest

from controlplane.gateway.protocol.http.proxies import TrustedProxies

_PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.1", b"", "192.0.2.1"),
        ("192.0.2.1", b"198.51.100.7", "192.0.2.1"),
        ("10.1.1.1", b"198.51.100.7", "198.51.100.7"),
        ("10.1.1.1", b"1.1.1.1, 198.51.100.7, 10.2.2.2", "198.51.100.7"),
        ("10.1.1.1", b"", "10.1.1.1"),
        ("2001:db8::1", b"2001:db9::1", "2001:db9::1"),
        ("10.1.1.1", b"nonsense", "nonsense"),
    ],
)
def test_only_trusted_proxies_say_who_is_behind_them(peer: str, forwarded_for: bytes, client: str) -> None:
    assert _PROXIES.client_address(peer, forwarded_for) == client


def test_without_a_list_nobody_is_believed() -> None:
    assert TrustedProxies(()).client_address("10.1.1.1", b"198.51.100.7") == "10.1.1.1"


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        TrustedProxies(["10.0.0.0/99"])
