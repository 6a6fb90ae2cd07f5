"""The end of a connection on a real socket: nothing that was answered is lost to a reset."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from chat_protocol.server.connection import ChatProtocol, State
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
        assert isinstance(protocol, ChatProtocol)
        self.protocol = protocol
        self.reactor = FakeReactor()
        self.transport = Connection(ours, protocol, self.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.transport.getPeer = lambda: None  # type: ignore[method-assign]
        protocol.makeConnection(self.transport)

    def turn(self) -> None:
        """What the reactor does when there is something to read."""
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
    assert made.protocol.state is State.GONE
    assert made.server.clock.getDelayedCalls() == []


def test_a_connection_that_ends_closes_its_sending_side_only(line: Line) -> None:
    line.theirs.sendall(encode(Close(Code.OK, "bye"), 7))
    line.turn()
    assert line.theirs.recv(100) == encode(Response2(Code.OK), 7)
    assert line.theirs.recv(100) == b""
    # Still read from: bytes left unread would make the kernel reset the connection.
    line.theirs.sendall(encode(Heartbeat(), 8))
    line.turn()
    assert line.protocol.state is State.LINGERING


def test_who_reads_nothing_is_not_waited_for_any_longer() -> None:
    line = Line()
    with suppress(BlockingIOError):
        while True:
            # The kernel has taken all there is, and has no room for more: not even for the end.
            line.transport.socket.send(b"x" * 4096)
    line.protocol.close()
    line.server.turn()
    assert line.protocol.state is State.LINGERING
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
