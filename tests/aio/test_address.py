"""Addresses in strings."""

from __future__ import annotations

from typing import Any

import pytest

from chat_protocol.aio import connect
from chat_protocol.aio.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp:chat.example.com:5556", Address("chat.example.com", 5556)),
        ("tls:chat.example.com:5556", Address("chat.example.com", 5556, tls=True)),
        ("tcp:localhost", Address("localhost", 5555)),
        ("localhost:80", Address("localhost", 80)),
        ("localhost", Address("localhost", 5555)),
        ("tcp:[::1]:5555", Address("::1", 5555)),
        ("tcp:127.0.0.1:1", Address("127.0.0.1", 1)),
        ("unix:/run/chat.sock", Address(path="/run/chat.sock")),
    ],
)
def test_an_address(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "tcp:", "unix:", "tcp:5555", "tcp:a:b", "tcp:a:0", "tcp:a:65536", "a b", "::1", "udp:a:1"],
)
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="tcp:HOST:PORT"):
        connect(text, "alice")


@pytest.mark.parametrize("address", [None, 5555, b"tcp:localhost:5555", ("localhost", 5555)])
def test_not_even_a_string(address: Any) -> None:
    with pytest.raises(TypeError, match="address must be a str or an endpoint"):
        connect(address, "alice")


def test_as_text() -> None:
    for text in ("[::1]:5555", "localhost:5555"):
        assert str(parse_address(text)) == text
    assert str(parse_address("unix:/a")) == "/a"
