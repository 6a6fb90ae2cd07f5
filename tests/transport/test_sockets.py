"""The internals of Twisted that the server uses, and what it does without them.

The tests of the first part fail when a new version of Twisted has changed one of them. Each says
which, and how to go on without it.
"""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.copyright import version
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

import chat_protocol
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.service.config import TLSConfig
from chat_protocol.service.tls import CertificateReloader
from chat_protocol.transport import sockets
from chat_protocol.transport.epoll_reader import read_by, readers_for
from chat_protocol.transport.output import BufferedOutput
from tests.certificates import NOW, Authority
from tests.server.line import Server, login, message, parse, response
from tests.server.reactor import Reactor
from tests.transport.tls import TLSClient


def changed(internal: str, fall_back: str) -> str:
    return f"Twisted {version} has changed {internal}; transport/sockets.py uses it: {fall_back}"


@implementer(IHalfCloseableProtocol)
class Receiver(Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def dataReceived(self, data: bytes) -> None:
        self.told.append(data)

    def readConnectionLost(self) -> None:
        self.told.append("read")

    def writeConnectionLost(self) -> None:
        self.told.append("write")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.told.append("lost")


@implementer(IPullProducer)
class Producer:
    def __init__(self) -> None:
        self.asked = 0

    def resumeProducing(self) -> None:
        self.asked += 1

    def stopProducing(self) -> None:
        pass


@implementer(IPushProducer)
class PushProducer(Producer):
    paused = 0

    def pauseProducing(self) -> None:
        self.paused += 1


class Line:
    """A connection of Twisted's on one end of a socket pair, its reactor driven by hand."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(2)
        self.reactor = Reactor()
        self.receiver = Receiver()
        self.connection = Connection(ours, self.receiver, self.reactor)  # type: ignore[arg-type]
        self.connection.connected = 1
        self.connection.startReading()
        self.receiver.makeConnection(self.connection)

    def fill(self) -> None:
        """Leave the kernel no room for more."""
        with suppress(BlockingIOError):
            while True:
                self.connection.socket.send(b"x" * 4096)

    def close(self) -> None:
        self.theirs.close()
        if not self.connection.disconnected:
            self.connection.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


# The internals.


def test_file_descriptor_start_writing(line: Line) -> None:
    said = changed(
        "FileDescriptor.startWriting, after which a producer was asked for more when the socket"
        " had room",
        "have writes_directly() return False, and BufferedOutput writes",
    )
    producer = Producer()
    line.connection.registerProducer(producer, False)
    asked = producer.asked
    sockets.write_when_ready(line.connection)
    assert line.reactor.writers == {line.connection}, said
    line.connection.doWrite()
    assert producer.asked == asked + 1, said


def test_file_descriptor_buffer_size(line: Line) -> None:
    said = changed(
        "FileDescriptor.bufferSize, above which a buffer counted as full",
        "have unbuffered() do nothing, and what a transport buffers counts as taken up to there",
    )
    producer = PushProducer()
    line.connection.registerProducer(producer, True)
    line.connection.write(b"counts as taken")
    with sockets.unbuffered(line.connection):
        line.connection.write(b"does not")
    assert producer.paused == 1, said
    assert line.connection.bufferSize == FileDescriptor.bufferSize, said


def test_file_descriptor_do_write(line: Line) -> None:
    said = changed(
        "FileDescriptor.doWrite, which wrote what a transport had buffered",
        "have write_pending() do nothing, and the reactor writes it",
    )
    pending = [True, True, False]
    line.connection.write(b"pending")
    sockets.write_pending(line.connection, lambda: pending.pop(0))
    assert line.theirs.recv(100) == b"pending", said
    assert not pending


def test_file_descriptor_reactor(line: Line) -> None:
    said = changed(
        "FileDescriptor.reactor, which a transport was read by",
        "have reactor_of() return None, and the reactor reads each connection by itself",
    )
    assert sockets.reactor_of(line.connection) is line.reactor, said
    line.connection.pauseProducing()
    other = Reactor()
    sockets.set_reactor(line.connection, other)
    line.connection.resumeProducing()
    assert (line.reactor.readers, other.readers) == (set(), {line.connection}), said
    line.connection.pauseProducing()
    assert other.readers == set(), said


def test_file_descriptor_disconnecting(line: Line) -> None:
    said = changed(
        "FileDescriptor.disconnecting, which was true once a transport was to be closed",
        "have is_closing() find out otherwise: without it a connection whose TLS has failed while"
        " its client took nothing stays until a timeout",
    )
    line.connection.write(b"x")
    assert not sockets.is_closing(line.connection), said
    line.connection.loseConnection()
    assert sockets.is_closing(line.connection), said


def test_file_descriptor_connection_lost(line: Line) -> None:
    said = changed(
        "FileDescriptor.connectionLost, which closed a socket and left the rest to the kernel",
        "have close_socket() call abortConnection",
    )
    line.fill()
    sockets.close_socket(line.connection)
    assert line.receiver.told == ["lost"], said
    received = 0
    while part := line.theirs.recv(65536):
        received += len(part)
    assert received > 4096, said


def test_connection_protocol(line: Line) -> None:
    said = changed(
        "Connection.protocol, which a transport gave everything to that it received",
        "have hand_over() return False, and the first protocol passes everything on",
    )
    after = Receiver()
    assert sockets.hand_over(line.connection, line.receiver, after), said
    line.theirs.sendall(b"data")
    line.connection.doRead()
    line.connection.readConnectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
    line.connection.loseWriteConnection()
    line.connection.doWrite()
    line.connection.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
    assert (line.receiver.told, after.told) == ([], [b"data", "read", "write", "lost"]), said


def test_protocol_wrapper_wrapped_protocol(line: Line) -> None:
    said = changed(
        "ProtocolWrapper.wrappedProtocol, which a wrapper gave everything to that it received",
        "have hand_over() return False, and the first protocol passes everything on",
    )
    inner = ProtocolWrapper(WrappingFactory(None), line.receiver)
    outer = ProtocolWrapper(WrappingFactory(None), inner)
    outer.makeConnection(line.connection)
    after = Receiver()
    assert sockets.hand_over(inner, line.receiver, after), said
    outer.dataReceived(b"data")
    outer.connectionLost(Failure(ConnectionDone()))
    assert (line.receiver.told, after.told) == ([], [b"data", "lost"]), said


class InTLS:
    """A protocol in TLS, its handshake done."""

    def __init__(self, directory: Path) -> None:
        authority = Authority()
        path = authority.server().write(directory / "server.pem")
        self.clock = Reactor()
        certificates = CertificateReloader(
            TLSConfig(str(path)), self.clock, lambda: int(NOW.timestamp()) * 10**9
        )
        self.receiver = Receiver()
        self.tls = certificates.wrap(self.receiver)
        self.transport = StringTransport()
        self.tls.makeConnection(self.transport)
        self.client = TLSClient(authority.trusted(), self.tls.dataReceived, self.transport)
        self.client.shake_hands()


@pytest.fixture
def in_tls(tmp_path: Path) -> InTLS:
    return InTLS(tmp_path)


def test_tls_memory_bio_protocol_write(in_tls: InTLS) -> None:
    said = changed(
        "TLSMemoryBIOProtocol.write, which encrypted at once, while the method of the instance"
        " gathered until the next turn",
        "have write_at_once() call tls.write(), and what is written in TLS leaves a turn later",
    )
    tls = sockets.tls_below(in_tls.receiver.transport)
    assert tls is in_tls.tls, said
    sockets.write_at_once(tls, b"at once")
    assert in_tls.client.read() == b"at once", said
    assert in_tls.clock.getDelayedCalls() == [], said


PACKAGE = Path(chat_protocol.__file__).parent
INTERNAL = {"bufferSize", "doWrite", "startWriting", "writeSomeData"}
SET_BY_TWISTED = {"protocol", "reactor", "wrappedProtocol"}


def uses(source: str) -> set[str]:
    """The internals that are used, and the attributes of other objects that are set."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
            is_set = isinstance(node.ctx, ast.Store) and not is_own
            if node.attr in INTERNAL or (node.attr in SET_BY_TWISTED and is_set):
                found.add(node.attr)
    return found


def test_no_other_module_uses_them() -> None:
    # In the testing package they belong to transports and a reactor of its own.
    users = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if uses(path.read_text()) and path.parent.name != "testing"
    }
    assert users == {"transport/sockets.py"}
    assert uses("transport.protocol = after") == {"protocol"}
    assert uses("self.protocol = protocol") == set()
    assert uses("getattr(descriptor.bufferSize)") == {"bufferSize"}


# What is below.


class Other(ProtocolWrapper):
    """Changes what is written."""

    def write(self, data: bytes) -> None:
        super().write(data.swapcase())


def test_what_is_below_a_plain_connection(line: Line) -> None:
    wrapper = ProtocolWrapper(WrappingFactory(None), line.receiver)
    wrapper.makeConnection(line.connection)
    for transport in (line.connection, wrapper):
        assert sockets.descriptor_below(transport) is line.connection
        assert not sockets.is_tls(transport)
        assert sockets.tls_below(transport) is None
        assert sockets.tls_written_by(transport) is None
    assert sockets.descriptor_below(StringTransport()) is None
    assert not sockets.writes_directly(wrapper)


def test_what_is_below_tls(in_tls: InTLS) -> None:
    tls = in_tls.tls
    same, other = (kind(WrappingFactory(None), Protocol()) for kind in (ProtocolWrapper, Other))
    for transport, writes in ((tls, True), (same, True), (other, False)):
        if transport is not tls:
            transport.makeConnection(tls)
        assert sockets.is_tls(transport)
        assert sockets.tls_below(transport) is tls
        assert sockets.tls_written_by(transport) is (tls if writes else None)


def test_a_socket_of_tcp_and_one_that_is_not(line: Line) -> None:
    assert sockets.tcp_socket(line.connection) is None, "it is one of UNIX"
    assert sockets.tcp_socket(StringTransport()) is None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
    transport = Connection(client, Protocol(), line.reactor)  # type: ignore[arg-type]
    wrapper = ProtocolWrapper(WrappingFactory(None), Protocol())
    wrapper.makeConnection(transport)
    for one in (transport, wrapper):
        assert sockets.tcp_socket(one) is client
    client.close()


def test_the_end_below_tls_is_not_the_end_of_tls(in_tls: InTLS) -> None:
    sockets.close_below_tls(in_tls.tls)
    assert in_tls.transport.disconnecting
    assert in_tls.client.read() == b""
    plain = StringTransport()
    sockets.close_below_tls(plain)
    assert plain.disconnecting


# Without the internals.


@implementer(ITransport, IConsumer, IPushProducer)
class Public:
    """A transport that has what the interfaces name, on a socket of its own."""

    def __init__(self, line: Line, protocol: Any) -> None:
        self._below = line.connection
        sockets.hand_over(line.connection, line.receiver, protocol)
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self._below.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._below.writeSequence(data)

    def loseConnection(self) -> None:
        self._below.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self._below.unregisterProducer()

    def pauseProducing(self) -> None:
        self._below.pauseProducing()

    def resumeProducing(self) -> None:
        self._below.resumeProducing()

    def stopProducing(self) -> None:
        self._below.stopProducing()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 4000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.9", 5555)


class OnPublic:
    """A server, and a connection to it over a transport without the internals."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.server = Server()
        self.first: Any = self.server.factory.buildProtocol(None)
        self.transport = Public(line, self.first)

    @property
    def chat(self) -> ChatProtocol:
        (found,) = self.server.factory.connections
        assert isinstance(found, ChatProtocol)
        return found

    def turn(self, data: bytes = b"") -> None:
        if data:
            self.line.theirs.sendall(data)
            self.line.connection.doRead()
        self.server.turn()
        for writer in list(self.line.reactor.writers):
            writer.doWrite()
        self.server.turn()


def test_a_server_needs_none_of_them(line: Line) -> None:
    connected = OnPublic(line)
    connected.turn(login("alice"))
    assert line.theirs.recv(100) == response(1, 1)
    chat = connected.chat
    # The first protocol passes everything on, ITransport.write writes, the reactor reads.
    assert line.connection.protocol is connected.first
    assert isinstance(chat.output, BufferedOutput)
    assert line.reactor.readers == {line.connection}
    connected.turn(message("hello", "alice", "alice"))
    assert len(parse(line.theirs.recv(1000))) == 2
    assert chat.session is not None
    assert chat.session.delivery.state.name == "LIVE"
    chat.close()
    connected.turn()
    assert line.receiver.told == []
    assert line.connection.disconnecting


def test_a_client_that_takes_nothing_is_waited_for_without_them(line: Line) -> None:
    connected = OnPublic(line)
    connected.turn(login("alice"))
    chat = connected.chat
    connected.server.logged_in("bob").send(
        *(message("m" * 60_000, "bob", "alice", n) for n in range(30))
    )
    connected.turn()
    assert chat.output.backlog
    received = b""
    line.theirs.setblocking(False)
    for _ in range(1000):
        connected.turn()
        with suppress(BlockingIOError):
            received += line.theirs.recv(1 << 20)
    assert len(parse(received)) == 31
    assert not chat.output.backlog


class Bare:
    """Has nothing."""

    aborted = 0

    def abortConnection(self) -> None:
        self.aborted += 1


def test_a_descriptor_without_them(monkeypatch: pytest.MonkeyPatch, line: Line) -> None:
    bare: Any = Bare()
    with sockets.unbuffered(bare):
        assert not hasattr(bare, "bufferSize")
    sockets.write_pending(bare, lambda: True)
    assert not sockets.is_closing(bare)
    assert not sockets.hand_over(bare, Receiver(), Receiver())
    monkeypatch.setattr(sockets, "descriptor_below", lambda transport: transport)
    sockets.close_socket(bare)
    assert bare.aborted == 1


def test_a_connection_whose_reactor_cannot_be_changed(line: Line) -> None:
    readers = readers_for(line.reactor, Server().factory.turn, 8)
    assert readers is not None
    del line.connection.reactor
    read_by(readers, line.connection, "")
    line.connection.reactor = line.reactor  # type: ignore[assignment]
    assert line.reactor.readers == {line.connection}


def test_a_connection_that_cannot_be_written_to_directly(
    monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    assert sockets.writes_directly(line.connection)
    for kind in Connection.__mro__:
        if "startWriting" in vars(kind):
            monkeypatch.delattr(kind, "startWriting")
    assert not sockets.writes_directly(line.connection)


def test_tls_whose_writing_has_no_other_way(monkeypatch: pytest.MonkeyPatch, in_tls: InTLS) -> None:
    monkeypatch.delattr(TLSMemoryBIOProtocol, "write")
    sockets.write_at_once(in_tls.tls, b"later")
    assert in_tls.client.read() == b""
    in_tls.clock.advance(0)
    assert in_tls.client.read() == b"later"
