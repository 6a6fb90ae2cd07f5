"""A server without a reactor, and the other ends of its connections."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from chat_protocol.domain.exchange import POSITION_SECONDS
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.ports import IStore
from chat_protocol.errors import Unavailable
from chat_protocol.server.factory import ChatFactory
from chat_protocol.stores.memory.store import MemoryStore

OK, ERROR, NOT_FOUND, ALREADY = 1, 2, 3, 4


def login(name: str | bytes, correlation_id: int = 1) -> bytes:
    data = name.encode() if isinstance(name, str) else name
    return frame(0x0001, struct.pack(">IH", correlation_id, len(data)) + data)


def message(
    text: str | bytes, sender: str, to: str, correlation_id: int = 2, time: int = 5
) -> bytes:
    body = struct.pack(">I", correlation_id)
    for one in (text, sender, to):
        data = one.encode() if isinstance(one, str) else one
        body += struct.pack(">H", len(data)) + data
    return frame(0x0002, body + struct.pack(">Q", time))


def response(code: int, correlation_id: int) -> bytes:
    return frame(0x0003, struct.pack(">IH", correlation_id, code))


def frame(key: int, body: bytes, version: int = 1) -> bytes:
    return struct.pack(">IBH", 3 + len(body), version, key) + body


class Response(NamedTuple):
    correlation_id: int
    code: int


class Message(NamedTuple):
    text: str
    sender: str
    to: str
    time: int


def parse(data: bytes) -> list[Response | Message]:
    """Everything that a server sent; nothing may be left."""
    found: list[Response | Message] = []
    while data:
        length, version, key, correlation_id = struct.unpack_from(">IBHI", data)
        body, data = data[11 : 4 + length], data[4 + length :]
        assert version == 1
        assert len(body) == length - 7
        if key == 0x0003:
            found.append(Response(correlation_id, *struct.unpack(">H", body)))
        else:
            assert (key, correlation_id) == (0x0002, 0)
            strings = []
            for _ in range(3):
                (size,) = struct.unpack_from(">H", body)
                strings.append(body[2 : 2 + size].decode())
                body = body[2 + size :]
            text, sender, to = strings
            found.append(Message(text, sender, to, *struct.unpack(">Q", body)))
    return found


class Transport(StringTransport):
    """As a transport of Twisted has it: what it receives goes to its protocol."""

    protocol: Any


class Peer:
    """The other end of one connection."""

    def __init__(self, server: Server, protocol: Protocol, host: str = "192.0.2.1") -> None:
        self.server = server
        self.transport = Transport(peerAddress=IPv4Address("TCP", host, 4000))
        self.transport.protocol = protocol
        self.writes: list[bytes] = []
        write = self.transport.write

        def count(data: bytes) -> None:
            self.writes.append(data)
            write(data)

        self.transport.write = count  # type: ignore[method-assign]
        protocol.makeConnection(self.transport)

    @property
    def protocol(self) -> Any:
        """What receives at the server's end: a ChatProtocol once frames have arrived."""
        return self.transport.protocol

    @property
    def connection(self) -> Any:
        """The same as the server has it, above TLS or a WebSocket."""
        found = self.protocol
        while isinstance(found, ProtocolWrapper):
            found = found.wrappedProtocol
        return found

    def send(self, *data: bytes) -> list[Response | Message]:
        """Send it in one segment; what has come back at the end of the turn."""
        self.protocol.dataReceived(b"".join(data))
        self.server.turn()
        return self.received()

    def received(self) -> list[Response | Message]:
        data = self.transport.value()
        self.transport.clear()
        return parse(data)

    @property
    def reading(self) -> bool:
        return bool(self.transport.producerState == "producing")

    def lose(self) -> None:
        self.transport.disconnecting = False
        self.transport.disconnected = True
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.server.turn()


class Server:
    """A ChatFactory on a Clock."""

    def __init__(self, store: IStore | None = None, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.limits = limits or Limits()
        self.store = store or MemoryStore(self.limits.mailbox)
        self.factory = ChatFactory(self.store, self.clock, lambda: 1234, self.limits)

    def turn(self) -> None:
        """Let the reactor's turn end, and those that follow from it."""
        for _ in range(10):
            self.clock.advance(0)

    def one_turn(self) -> None:
        """Let one turn end, and no other."""
        calls, self.clock.calls = self.clock.calls, []
        for call in calls:
            if call.getTime() <= self.clock.seconds():
                call.called = 1
                call.func(*call.args, **call.kw)
            else:
                self.clock.calls.append(call)

    def connect(self) -> Peer:
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        return Peer(self, protocol)

    def logged_in(self, name: str) -> Peer:
        peer = self.connect()
        assert peer.send(login(name))[0] == Response(1, 1)
        return peer


S = TypeVar("S", bound=Server)


def serving(made: S) -> Iterator[S]:
    """A server for a fixture; all connections lost at the end, it has nothing left to do."""
    yield made
    connections: list[Any] = list(made.factory.connections)
    for connection in connections:
        connection.connectionLost()
    made.turn()
    made.clock.advance(POSITION_SECONDS)
    made.turn()
    assert made.clock.getDelayedCalls() == []


class SlowStore(Server):
    """A server whose store answers when the test says so."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits=limits)
        self.pending: list[tuple[Deferred[None], Any]] = []
        self.hold = False
        commit = self.store.commit

        def later(batch: Any) -> Any:
            if not self.hold:
                return commit(batch)
            waiting: Deferred[None] = Deferred()
            self.pending.append((waiting, batch))
            return waiting.addCallback(lambda _: commit(batch))

        self.store.commit = later  # type: ignore[method-assign]

    def stored(self) -> None:
        self.hold = False
        pending, self.pending = self.pending, []
        for deferred, _ in pending:
            deferred.callback(None)
        self.turn()

    def refuse(self) -> None:
        pending, self.pending = self.pending, []
        for deferred, _ in pending:
            deferred.errback(Failure(Unavailable("full")))
        self.turn()
