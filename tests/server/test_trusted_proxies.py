"""Proxies that are trusted, and the client that they tell of."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from chat_protocol.server.trusted_proxies import ForwardedAddress, TrustedProxies
from chat_protocol.transport.addresses import host_of, in_words
from tests.server.line import Peer, Server, login

PROXIES = TrustedProxies(["192.0.2.9", "198.51.100.0/24", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("192.0.2.9", True),
        ("192.0.2.8", False),
        ("::ffff:192.0.2.9", True),
        ("198.51.100.77", True),
        ("2001:db8:1:2::3", True),
        ("2001:db8:2::3", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("not an address", False),
    ],
)
def test_proxies_are_trusted_by_address_or_network(host: str, trusted: bool) -> None:
    assert (IPv4Address("TCP", host, 1) in PROXIES) is trusted


def test_unix_sockets_are_trusted_if_given() -> None:
    for address in (UNIXAddress(b"x"), None):
        assert address not in PROXIES
        assert address in TrustedProxies(["unix"])
    assert IPv6Address("TCP", "::1", 1) not in TrustedProxies(["unix"])


@pytest.mark.parametrize("given", ["proxy", "192.0.2.1/24", "", "192.0.2.1:80"])
def test_what_is_no_proxy(given: str) -> None:
    with pytest.raises(ValueError, match=r"host bits|does not appear"):
        TrustedProxies([given])


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([b"203.0.113.5"], "203.0.113.5"),
        ([b"1.1.1.1, 203.0.113.5"], "203.0.113.5"),
        ([b"1.1.1.1", b"203.0.113.5"], "203.0.113.5"),
        ([b"1.1.1.1, 203.0.113.5, 192.0.2.9,198.51.100.1"], "203.0.113.5"),
        ([b"1.1.1.1, 203.0.113.5, ::ffff:192.0.2.9"], "203.0.113.5"),
        ([b"203.0.113.5:4711"], "203.0.113.5"),
        ([b"[2001:db8::5]:4711"], "2001:db8::5"),
        ([b"2001:DB8::5"], "2001:db8::5"),
        ([b"::ffff:203.0.113.5"], "203.0.113.5"),
        ([b"1.1.1.1, unknown"], None),
        ([b"1.1.1.1, unknown, 192.0.2.9"], None),
        ([b"1.1.1.1, "], None),
        ([b"192.0.2.9"], None),
        ([b"\xff"], None),
        ([], None),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy(values: list[bytes], client: str | None) -> None:
    assert PROXIES.client_of(values) == (client and ForwardedAddress(client))


def test_an_address_without_a_port_in_words() -> None:
    assert in_words(ForwardedAddress("203.0.113.5")) == "203.0.113.5"
    assert host_of(ForwardedAddress("203.0.113.5")) == "203.0.113.5"


def test_a_trusted_proxy_is_no_address_for_limits() -> None:
    server = Server()
    server.factory.trusted_proxies = PROXIES
    client = Peer(server, server.factory.buildProtocol(IPv4Address("TCP", "192.0.2.9", 4000)))
    client.send(login("alice"))
    (connection,) = server.factory.connections
    assert connection.host == ""
    assert connection.peer == "'alice' at a client of the proxy 192.0.2.9:4000"
