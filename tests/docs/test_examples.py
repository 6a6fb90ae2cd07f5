"""The examples of docs/protocol.md: what the codec and the server make of them."""

from __future__ import annotations

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from chat_protocol.domain.limits import Limits
from chat_protocol.server import factory
from chat_protocol.server.factory import ChatFactory
from chat_protocol.stores.memory.store import MemoryStore
from chat_protocol.wire import codec
from chat_protocol.wire.commands import (
    Login,
    Login2,
)
from tests.docs.markdown import examples, read
from tests.docs.protocol_examples import EXAMPLES, VERSION_1

TEXT = read("protocol.md")


def test_no_example_is_missing_here() -> None:
    assert list(examples(TEXT)) == list(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_the_codec_writes_and_reads(name: str) -> None:
    frame, correlation_id, command = EXAMPLES[name]
    assert examples(TEXT)[name] == frame
    assert codec.encode(command, correlation_id) == frame
    header, decoded = codec.decode(frame[4:])
    version = 1 if name in VERSION_1 else 2
    assert (header.version, header.correlation_id, decoded) == (version, correlation_id, command)


class Server:
    """A ChatFactory without sockets."""

    def __init__(self) -> None:
        self._clock = Clock()
        wall_clock = 1_700_000_000_000_000_000
        store = MemoryStore(last_offset=wall_clock // 1000)
        self._factory = ChatFactory(store, self._clock, lambda: wall_clock, Limits())

    def connect(self) -> tuple[Protocol, StringTransport]:
        connection = self._factory.buildProtocol(None)
        transport = StringTransport()
        connection.makeConnection(transport)
        return connection, transport

    def say(self, connection: Protocol, transport: StringTransport, frame: bytes) -> bytes:
        """What comes back on the connection."""
        transport.clear()
        connection.dataReceived(frame)
        self._clock.pump([0] * 5)
        sent: bytes = transport.value()
        return sent


def test_the_server_does_what_the_examples_of_version_1_show() -> None:
    shown = examples(TEXT)
    server = Server()
    user1, user2 = server.connect(), server.connect()
    assert server.say(*user1, shown["E1"]) == shown["E2"]
    server.say(*user2, codec.encode(Login("user2"), 1))
    user2[1].clear()
    assert server.say(*user1, shown["E3"]) == shown["E5"]
    assert user2[1].value() == shown["E4"]
    assert server.say(*user1, shown["E6"]) == shown["E7"]
    assert server.say(*user1, shown["E8"]) == shown["E9"]
    assert server.say(*user1, shown["E3"]) == shown["E5"]


def test_the_server_does_what_the_examples_of_version_2_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(factory, "__version__", "2.0")
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: "0J7mYf2cQ9tK")
    shown = examples(TEXT)
    server = Server()
    user1, user2, user3 = server.connect(), server.connect(), server.connect()
    assert server.say(*user1, shown["E10"]) == shown["E11"]
    server.say(*user2, codec.encode(Login2("user2"), 1))
    server.say(*user3, codec.encode(Login("user3"), 1))
    for _, transport in (user2, user3):
        transport.clear()
    assert server.say(*user1, shown["E12"]) == shown["E15"]
    assert user2[1].value() == shown["E13"]
    assert user3[1].value() == shown["E14"]
    assert server.say(*user2, shown["E16"]) == b""
    assert server.say(*user1, shown["E17"]) == shown["E18"]
    assert server.say(*user1, shown["E19"]) == shown["E20"]
    assert server.say(*user1, shown["E12"]) == shown["E15"]
    assert user3[1].value() == shown["E14"]
    assert server.say(*user1, shown["E21"]) == shown["E22"]
    assert user1[1].disconnecting
    again = server.connect()
    answer = server.say(*again, shown["E10"])
    _, granted = codec.decode(answer[4:])
    assert (granted.code, granted.properties["publishing-id"]) == (1, "1")
    phone = server.connect()
    _, granted = codec.decode(server.say(*phone, shown["E23"])[4:])
    assert (granted.code, granted.properties["resumed"]) == (1, "0")
    user2[1].clear()
    server.say(*again, shown["E24"])
    assert phone[1].value().endswith(shown["E25"])
    assert user2[1].value() == shown["E25"]
