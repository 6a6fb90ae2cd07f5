"""Addresses as limits count them, and as the log writes them."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from chat_protocol.transport.addresses import address_of, host_of, in_words


@pytest.mark.parametrize(
    ("address", "host", "words"),
    [
        (IPv4Address("TCP", "192.0.2.1", 4000), "192.0.2.1", "192.0.2.1:4000"),
        (IPv6Address("TCP", "2001:db8::1", 7), "2001:db8::1", "2001:db8::1:7"),
        (UNIXAddress(b"chat.sock"), "", "UNIXAddress('chat.sock')"),
        (None, "", "None"),
    ],
)
def test_addresses(address: object, host: str, words: str) -> None:
    assert host_of(address) == host
    assert in_words(address) == words


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", ""),
        ("127.8.9.1", ""),
        ("::1", ""),
        ("", ""),
        ("/run/chat.sock", ""),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:127.0.0.1", ""),
    ],
)
def test_the_address_that_a_host_counts_for(host: str, address: str) -> None:
    assert address_of(host) == address
