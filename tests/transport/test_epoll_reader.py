"""Connections that are read past the reactor: on real sockets, with a reactor driven by hand."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.turn import Turn
from chat_protocol.transport.epoll_reader import EpollReader, read_by, readers_for
from tests.server.reactor import Reactor


class Peer(Protocol):
    """One end is a connection of the server, the other a socket in the hands of the test."""

    def __init__(self, line: Line) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.received: list[bytes] = []
        self.lost: Failure | None = None
        self.connection = Connection(ours, self, line.reactor)  # type: ignore[arg-type]
        self.connection.connected = 1
        self.connection.startReading()
        self.makeConnection(self.connection)
        line.readers.adopt(self.connection)

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfClosing(Peer):
    half_closed = False

    def readConnectionLost(self) -> None:
        self.half_closed = True

    def writeConnectionLost(self) -> None:
        pass


class Line:
    """Connections that are read together."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.turn = Turn(self.reactor)
        self.ended = 0
        self.turn.end = self.end
        self.readers = self.another(256)
        self.peers: list[Peer] = []

    def another(self, seconds: float) -> EpollReader:
        readers = readers_for(self.reactor, self.turn, seconds)
        assert readers is not None
        return readers

    def end(self) -> None:
        self.ended += 1

    def peer(self, kind: type[Peer] = Peer) -> Peer:
        self.peers.append(kind(self))
        return self.peers[-1]

    def read(self) -> None:
        """As the reactor would, when the descriptor is readable."""
        assert select.select([self.readers], [], [], 0)[0]
        self.readers.doRead()

    def close(self) -> None:
        for peer in self.peers:
            peer.theirs.close()
            if peer.lost is None:
                peer.connection.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def test_all_that_have_bytes_are_read_at_once(line: Line) -> None:
    one, two, three = line.peer(), line.peer(), line.peer()
    one.theirs.send(b"one")
    three.theirs.send(b"three")
    assert line.reactor.readers == {line.readers}
    line.read()
    assert (one.received, two.received, three.received) == ([b"one"], [], [b"three"])
    assert not select.select([line.readers], [], [], 0)[0]


def test_sockets_are_read_while_there_is_time_and_none_is_left_out(line: Line) -> None:
    few = line.another(2)
    peers = [line.peer() for _ in range(5)]
    for peer in peers:
        few.adopt(peer.connection)
        peer.theirs.send(b"x")
    assert line.reactor.readers == {few}
    line.reactor.step = 1
    for expected in (2, 4, 5):
        few.doRead()
        assert sum(peer.received == [b"x"] for peer in peers) == expected


def test_it_is_idle_when_no_socket_waits(line: Line) -> None:
    few = line.another(1)
    peers = [line.peer() for _ in range(2)]
    for peer in peers:
        few.adopt(peer.connection)
    assert few.idle
    peers[0].theirs.send(b"x")
    assert not few.idle
    peers[1].theirs.send(b"x")
    line.reactor.step = 1
    few.doRead()
    # The other one was left over.
    assert not few.idle
    few.doRead()
    assert few.idle


def test_sockets_that_are_left_over_are_read_for_each_key_in_turn(line: Line) -> None:
    few = line.another(1)
    crowd = [line.peer() for _ in range(10)]
    for peer in crowd:
        few.adopt(peer.connection, "crowd")
        peer.theirs.send(b"x")
    line.reactor.step = 1
    few.doRead()
    other = line.peer()
    few.adopt(other.connection, "other")
    other.theirs.send(b"y")
    for _ in range(3):
        few.doRead()
    assert other.received == [b"y"]
    assert 0 < sum(bool(peer.received) for peer in crowd) < 10
    for _ in range(10):
        few.doRead()
    assert all(peer.received == [b"x"] for peer in crowd)


def test_who_has_sent_little_is_read_before_a_crowd_that_sends_much(line: Line) -> None:
    few = line.another(1)
    crowd = [line.peer() for _ in range(10)]
    for number, peer in enumerate(crowd):
        few.adopt(peer.connection, number)
        peer.theirs.send(bytes(100_000))
    line.reactor.step = 1
    few.doRead()
    other = line.peer()
    few.adopt(other.connection, "other")
    for _ in range(100):
        other.theirs.send(b"y")
        few.doRead()
        assert other.received.pop() == b"y"
        few.doRead()


def test_a_socket_that_another_one_closes_is_not_looked_at(line: Line) -> None:
    few = line.another(1)
    line.reactor.step = 1

    class Closing(Peer):
        def dataReceived(self, data: bytes) -> None:
            other.connection.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]

    first, other = line.peer(Closing), line.peer()
    for peer in (first, other):
        few.adopt(peer.connection)
        peer.theirs.send(b"x")
    few.doRead()
    few.doRead()
    assert other.received == []


@pytest.fixture
def reset_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        ours.setblocking(False)
        yield ours, theirs


def reset(theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


@pytest.mark.parametrize("paused", [False, True])
def test_what_a_peer_sent_is_dropped_when_it_resets(
    line: Line, reset_pair: tuple[socket.socket, socket.socket], paused: bool
) -> None:
    peer = line.peer()
    peer.theirs.close()
    ours, peer.theirs = reset_pair
    connection = Connection(ours, peer, line.reactor)  # type: ignore[arg-type]
    connection.connected = 1
    connection.startReading()  # type: ignore[no-untyped-call]
    line.readers.adopt(connection)
    if paused:
        connection.pauseProducing()
    peer.theirs.send(b"unread")
    reset(peer.theirs)
    line.read()
    assert peer.received == []
    assert peer.lost is not None
    assert peer.lost.check(ConnectionLost)  # type: ignore[no-untyped-call]
    assert not line.readers.reads(connection)


def test_a_paused_socket_that_its_peer_has_closed_is_read_when_it_is_resumed(line: Line) -> None:
    peer = line.peer()
    peer.connection.pauseProducing()
    peer.theirs.send(b"x")
    peer.theirs.close()
    line.readers.doRead()
    assert not select.select([line.readers], [], [], 0)[0], "it would be reported for ever"
    peer.connection.resumeProducing()
    line.read()
    assert peer.received == [b"x"]


def test_who_is_paused_goes_to_others_paused(line: Line) -> None:
    others = line.another(8)
    one, two = line.peer(), line.peer()
    one.connection.pauseProducing()
    for peer in (one, two):
        others.adopt(peer.connection)
        peer.theirs.send(b"x")
    assert [others.reads(peer.connection) for peer in (one, two)] == [False, True]
    others.doRead()
    assert (one.received, two.received) == ([], [b"x"])
    one.connection.resumeProducing()
    others.doRead()
    assert one.received == [b"x"]
    assert line.reactor.readers == {others}


def test_the_turn_ends_behind_the_reading_if_somebody_asked_for_it(line: Line) -> None:
    class Asking(Peer):
        def dataReceived(self, data: bytes) -> None:
            assert line.ended == 0
            line.turn.request()

    one, two = line.peer(Asking), line.peer(Asking)
    one.theirs.send(b"one")
    two.theirs.send(b"two")
    line.read()
    assert line.ended == 1
    assert line.reactor.getDelayedCalls() == []
    three = line.peer()
    three.theirs.send(b"three")
    line.read()
    assert line.ended == 1


def test_a_turn_that_was_to_end_later_ends_now(line: Line) -> None:
    class Asking(Peer):
        def dataReceived(self, data: bytes) -> None:
            line.turn.request()

    line.turn.request()
    line.peer(Asking).theirs.send(b"x")
    line.read()
    assert line.ended == 1
    assert line.reactor.getDelayedCalls() == []
    line.turn.request()
    line.reactor.advance(0)
    assert line.ended == 2


def test_one_that_is_paused_is_not_read(line: Line) -> None:
    one, two = line.peer(), line.peer()
    one.connection.pauseProducing()
    one.theirs.send(b"one")
    two.theirs.send(b"two")
    line.read()
    assert one.received == []
    one.connection.resumeProducing()
    line.read()
    assert one.received == [b"one"]


def test_one_may_pause_or_end_another_that_has_bytes(line: Line) -> None:
    class Rival(Peer):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            for other in line.peers:
                if other is not self:
                    other.connection.pauseProducing()

    one, two = line.peer(Rival), line.peer(Rival)
    one.theirs.send(b"x")
    two.theirs.send(b"x")
    line.read()
    assert sorted([one.received, two.received]) == [[], [b"x"]]


def test_the_end_of_a_peer(line: Line) -> None:
    one = line.peer()
    one.theirs.close()
    line.read()
    assert one.lost is not None
    assert one.lost.check(ConnectionDone)  # type: ignore[no-untyped-call]


def test_the_end_of_what_a_peer_sends(line: Line) -> None:
    one = line.peer(HalfClosing)
    one.theirs.shutdown(socket.SHUT_WR)
    line.read()
    assert isinstance(one, HalfClosing)
    assert one.half_closed
    assert one.lost is None
    assert not line.readers.reads(one.connection)
    assert not select.select([line.readers], [], [], 0)[0]


def test_a_reset_is_no_half_close_and_ends_the_writing_too(line: Line) -> None:
    one = line.peer(HalfClosing)
    one.connection.write(b"unread")
    one.connection.doWrite()
    one.connection.write(b"unwritten")
    assert line.reactor.writers == {one.connection}
    # With bytes unread: the kernel resets the connection.
    one.theirs.close()
    line.read()
    assert isinstance(one, HalfClosing)
    assert not one.half_closed
    assert one.lost is not None
    assert one.lost.check(ConnectionLost)  # type: ignore[no-untyped-call]
    assert line.reactor.writers == set()


def test_a_connection_that_fails_ends_and_the_others_go_on(
    line: Line, logged_failures: list[Failure]
) -> None:
    class Failing(Peer):
        def dataReceived(self, data: bytes) -> None:
            raise ZeroDivisionError

    one, two = line.peer(Failing), line.peer()
    one.theirs.send(b"x")
    two.theirs.send(b"x")
    line.turn.request()
    line.read()
    assert one.lost is not None
    assert one.lost.check(ZeroDivisionError)  # type: ignore[no-untyped-call]
    assert two.received == [b"x"]
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()


def test_the_reactor_watches_as_long_as_there_are_connections(line: Line) -> None:
    assert line.reactor.readers == set()
    one, two = line.peer(), line.peer()
    for peer in (one, two):
        assert line.reactor.readers == {line.readers}
        peer.theirs.close()
        line.read()
    assert line.reactor.readers == set()
    line.peer()
    assert line.reactor.readers == {line.readers}


def test_writing_and_delayed_calls_stay_the_reactors(line: Line) -> None:
    one = line.peer()
    one.connection.write(b"hello")
    assert line.reactor.writers == {one.connection}
    one.connection.doWrite()
    assert one.theirs.recv(99) == b"hello"
    one.connection.abortConnection()
    line.reactor.advance(0)
    assert one.lost is not None


class Echo(Peer):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


def test_what_is_written_at_once_is_not_watched(line: Line) -> None:
    one, two = line.peer(Echo), line.peer(Echo)
    seen: list[set[object]] = []

    def end() -> None:
        seen.append(set(line.reactor.writers))
        one.connection.doWrite()
        line.turn.end = line.end

    line.turn.end = end
    for peer in (one, two):
        peer.theirs.send(b"hello")
    line.turn.request()
    line.read()
    assert one.theirs.recv(99) == b"hello"
    # The other one waits for the reactor.
    assert (seen, line.reactor.writers) == ([set()], {two.connection})


@pytest.mark.parametrize("released", [False, True])
def test_what_is_written_at_the_end_of_a_turn_is_watched_after_it(
    released: bool, line: Line
) -> None:
    one = line.peer()

    def end() -> None:
        one.connection.write(b"hello")
        assert line.reactor.writers == set()
        if released:
            line.readers.release(one.connection)

    line.turn.end = end
    line.turn.request()
    line.reactor.advance(0)
    line.reactor.advance(0)
    assert line.reactor.writers == {one.connection}


def test_all_connections_end_with_the_reactor(line: Line) -> None:
    one, two = line.peer(), line.peer()
    line.readers.connectionLost(Failure(ConnectionLost()))  # type: ignore[no-untyped-call]
    assert None not in (one.lost, two.lost)


def test_a_transport_is_read_by_whom_it_is_given_to(line: Line) -> None:
    others = line.another(8)
    one = line.peer()
    read_by(None, one.connection, "")
    assert line.readers.reads(one.connection)
    wrapper = ProtocolWrapper(WrappingFactory(None), one)
    wrapper.transport = one.connection  # type: ignore[assignment]
    read_by(others, wrapper, "")
    assert others.reads(one.connection)
    assert not line.readers.reads(one.connection)


def test_what_has_no_socket_is_left_alone(line: Line) -> None:
    read_by(line.readers, StringTransport(), "")
    assert line.reactor.readers == set()


def test_a_reactor_without_descriptors_reads_by_itself() -> None:
    clock = Clock()
    assert readers_for(clock, Turn(clock), 8) is None
    assert isinstance(readers_for(Reactor(), Turn(clock), 8), EpollReader)
