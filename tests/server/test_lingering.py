"""The end of a connection on a real socket: nothing that was answered is lost to a reset."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.server.lingering import LingeringClose
from chat_protocol.server.state import ConnectionState
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Close, Heartbeat, Response2
from tests.server.line import Server
from tests.transport.test_output import FakeReactor


class Line:
    """A connection to a server over a socket pair, its reactor driven by hand."""

    def __init__(self) -> None:
        self.server = Server()
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(0.2)
        ours.setblocking(False)
        protocol = self.server.factory.buildProtocol(None)
        self.reactor = FakeReactor()
        self.transport = Connection(ours, protocol, self.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.transport.getPeer = lambda: None  # type: ignore[method-assign]
        protocol.makeConnection(self.transport)

    @property
    def connection(self) -> Any:
        """The connection as the factory has it, whatever it speaks."""
        (found,) = self.server.factory.connections
        return found

    def fill(self) -> None:
        """Leave the kernel no room for more, not even for the end."""
        with suppress(BlockingIOError):
            while True:
                self.transport.socket.send(b"x" * 4096)

    def turn(self) -> None:
        """What the reactor does when there is something to read."""
        if not self.transport.disconnected:
            self._done(self.transport.doRead())
        self.server.turn()
        while self.reactor.writers:
            self._done(self.transport.doWrite())

    def _done(self, why: Exception | None) -> None:
        if why is not None:
            self.reactor.writers.clear()
            self.transport.connectionLost(Failure(why))  # type: ignore[no-untyped-call]


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.theirs.close()
    made.turn()
    assert made.server.factory.connections == set()
    assert made.server.clock.getDelayedCalls() == []


def test_a_connection_that_ends_closes_its_sending_side_only(line: Line) -> None:
    line.theirs.sendall(encode(Close(Code.OK, "bye"), 7))
    line.turn()
    assert line.theirs.recv(100) == encode(Response2(Code.OK), 7)
    assert line.theirs.recv(100) == b""
    # Still read from: bytes left unread would make the kernel reset the connection.
    line.theirs.sendall(encode(Heartbeat(), 8))
    line.turn()
    assert line.connection.state is ConnectionState.LINGERING


def test_one_that_has_not_spoken_does_so_too(line: Line) -> None:
    line.connection.close()
    line.server.turn()
    line.turn()
    assert line.theirs.recv(100) == b""
    line.theirs.sendall(encode(Heartbeat(), 8))
    line.turn()
    assert line.connection.state is ConnectionState.LINGERING


@pytest.mark.parametrize("spoken", [b"", encode(Heartbeat(), 8)[:5]], ids=["silent", "chat"])
def test_when_the_peer_closes_its_side_it_is_closed(line: Line, spoken: bytes) -> None:
    if spoken:
        line.theirs.sendall(spoken)
        line.turn()
    connection = line.connection
    connection.close()
    line.turn()
    line.transport.readConnectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
    line.turn()
    assert connection.state is ConnectionState.GONE
    assert line.server.factory.connections == set()
    # It is too late for that.
    connection.cut_off()
    assert line.server.clock.getDelayedCalls() == []


@pytest.mark.parametrize("spoken", [b"", encode(Heartbeat(), 8)[:5]], ids=["silent", "chat"])
def test_who_reads_nothing_is_not_waited_for_any_longer(spoken: bytes) -> None:
    line = Line()
    if spoken:
        line.theirs.sendall(spoken)
        line.turn()
    line.fill()
    line.connection.close()
    line.server.turn()
    assert line.connection.state is ConnectionState.LINGERING
    line.server.clock.advance(line.server.factory.limits.linger_seconds)
    line.server.clock.advance(0)
    assert line.server.factory.connections == set()
    assert line.server.clock.getDelayedCalls() == []
    # What the kernel had is not lost.
    line.theirs.settimeout(2)
    received = 0
    while part := line.theirs.recv(65536):
        received += len(part)
    assert received > 4096
    line.theirs.close()


# The steps, on transports of other kinds.


class Transport:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("getPeerCertificate", "transport"):
            raise AttributeError(name)
        return lambda: self.asked.append(name)


@implementer(IHalfCloseableDescriptor)
class HalfCloseable(Transport):
    pass


class TLS(Transport):
    def getPeerCertificate(self) -> None:
        return None


LIMITS = Limits()


def closing(transport: Transport, peer_done: bool = False) -> tuple[LingeringClose, Clock]:
    clock = Clock()
    return LingeringClose(transport, LIMITS, clock, peer_done), clock


@pytest.mark.parametrize("kind", [Transport, HalfCloseable, TLS])
def test_the_first_step_has_its_time(kind: type[Transport]) -> None:
    transport = kind()
    _, clock = closing(transport)
    clock.advance(LIMITS.close_seconds - 0.1)
    assert transport.asked == []
    clock.advance(0.1)
    assert transport.asked == ["abortConnection"]
    assert clock.getDelayedCalls() == []


def test_without_half_close_it_is_closed_at_once() -> None:
    transport = Transport()
    close, clock = closing(transport)
    close.linger()
    assert transport.asked == ["loseConnection"]
    # That may take as long as the first step.
    clock.advance(LIMITS.close_seconds)
    assert transport.asked == ["loseConnection", "abortConnection"]


def test_with_half_close_the_peer_is_waited_for() -> None:
    transport = HalfCloseable()
    close, _ = closing(transport)
    close.linger()
    assert transport.asked == ["loseWriteConnection", "resumeProducing"]
    close.peer_closed()
    assert transport.asked[2:] == ["loseConnection"]


@pytest.mark.parametrize("late", [False, True])
def test_a_peer_that_has_closed_is_not(late: bool) -> None:
    transport = HalfCloseable()
    close, _ = closing(transport, peer_done=not late)
    if late:
        close.peer_closed()
    close.linger()
    assert transport.asked == ["loseConnection"]


def test_tls_waits_for_close_notify_then_for_what_was_written() -> None:
    transport = TLS()
    close, clock = closing(transport)
    close.linger()
    assert transport.asked == ["loseConnection", "resumeProducing"]
    clock.advance(LIMITS.linger_seconds)
    # Of what is below.
    assert transport.asked[2:] == ["loseConnection"]
    clock.advance(LIMITS.close_seconds)
    assert transport.asked[3:] == ["abortConnection"]


def test_a_connection_that_is_gone_is_not_cut_off() -> None:
    transport = HalfCloseable()
    close, clock = closing(transport)
    close.linger()
    close.cancel()
    close.cancel()
    assert clock.getDelayedCalls() == []
