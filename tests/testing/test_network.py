"""Connections in memory: what the transports do, and what goes wrong on purpose."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    NoProtocol,
)
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chat_protocol.testing import MemoryServer
from chat_protocol.testing.endpoint import Endpoint
from chat_protocol.testing.network import Network
from chat_protocol.testing.pipe import PIPE_BYTES

from .user import connecting, log_in


@implementer(IHalfCloseableProtocol)
class HalfCloser(Protocol):
    """Notes what happens to it."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.pieces: list[int] = []
        self.events: list[str] = []
        self.lost: type[BaseException] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.pieces.append(len(data))

    def readConnectionLost(self) -> None:
        self.events.append("read")

    def writeConnectionLost(self) -> None:
        self.events.append("write")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost = reason.type


class Pair:
    """Two protocols that are connected."""

    def __init__(self, client: HalfCloser, server: HalfCloser) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.network.listener = Factory.forProtocol(lambda: server)  # type: ignore[arg-type]
        self.client, self.server = client, server
        connected = connectProtocol(Endpoint(self.network, 30), client)
        self.clock.advance(0)
        assert connected.result is client

    def flush(self) -> None:
        self.clock.advance(0)


@pytest.fixture
def pair() -> Pair:
    return Pair(HalfCloser(), HalfCloser())


def failing(deferred: Deferred[Any]) -> list[type[BaseException]]:
    """What it fails with, when it does."""
    failures: list[Any] = []

    def note(failure: Failure) -> None:
        failures.append(failure.type)

    deferred.addErrback(note)
    return failures


class Tracked(Factory):
    """A factory that counts its uses."""

    noisy = False
    uses = 0

    def __init__(self, protocol: Protocol | None) -> None:
        self.made = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self.made

    def doStart(self) -> None:
        self.uses += 1

    def doStop(self) -> None:
        self.uses -= 1


# The transports.


def test_they_are_what_both_ends_need(pair: Pair) -> None:
    for one, other in ((pair.client, pair.server), (pair.server, pair.client)):
        for interface in (ITransport, IConsumer, IHalfCloseableDescriptor):
            verifyObject(interface, one.transport)
        assert one.transport.getPeer() == other.transport.getHost()
    assert pair.server.transport.getPeer().host == "127.0.0.1"


def test_the_endpoint_is_one(pair: Pair) -> None:
    verifyObject(IStreamClientEndpoint, MemoryServer().endpoint())


def test_bytes_go_both_ways_and_not_at_once(pair: Pair) -> None:
    pair.client.transport.write(b"ask")
    pair.server.transport.writeSequence([b"ans", b"wer"])
    assert pair.server.data == pair.client.data == b""
    pair.flush()
    assert (pair.server.data, pair.client.data) == (b"ask", b"answer")


def test_close_writes_what_is_owed_first(pair: Pair) -> None:
    pair.client.transport.write(b"x" * 3 * PIPE_BYTES)
    pair.client.transport.loseConnection()
    pair.flush()
    assert pair.client.lost is ConnectionDone
    assert pair.server.data == b"x" * 3 * PIPE_BYTES
    assert pair.server.events == ["read"]
    assert pair.server.lost is None
    pair.server.transport.loseConnection()
    pair.flush()
    assert pair.server.lost is ConnectionDone
    assert pair.network.links == []


def test_half_close_leaves_the_other_direction(pair: Pair) -> None:
    pair.client.transport.write(b"last")
    pair.client.transport.loseWriteConnection()
    pair.flush()
    assert pair.client.events == ["write"]
    assert (pair.server.data, pair.server.events) == (b"last", ["read"])
    pair.server.transport.write(b"still")
    pair.server.transport.loseConnection()
    pair.flush()
    assert pair.client.data == b"still"
    assert pair.server.lost is ConnectionDone


def test_without_half_close_the_end_of_reading_is_the_end() -> None:
    class Whole(Protocol):
        transport: Any
        lost: Any = None

        def connectionLost(self, reason: Any = None) -> None:
            self.lost = reason.type

    whole = Whole()
    pair = Pair(HalfCloser(), whole)  # type: ignore[arg-type]
    pair.client.transport.loseWriteConnection()
    pair.flush()
    assert whole.lost is ConnectionDone


def test_abort_resets_the_peer(pair: Pair) -> None:
    pair.client.transport.abortConnection()
    pair.flush()
    assert pair.client.lost is ConnectionAborted
    assert pair.server.lost is ConnectionLost


def test_who_closes_with_bytes_unread_resets_the_peer(pair: Pair) -> None:
    pair.client.transport.pauseProducing()
    pair.server.transport.write(b"unread")
    pair.flush()
    pair.client.transport.loseConnection()
    pair.flush()
    assert pair.client.lost is ConnectionDone
    assert pair.server.lost is ConnectionLost


def test_who_writes_to_one_that_is_gone_is_reset(pair: Pair) -> None:
    pair.client.transport.loseConnection()
    pair.flush()
    pair.server.transport.write(b"anybody there?")
    pair.flush()
    pair.server.transport.write(b"no")
    pair.flush()
    assert pair.server.lost is ConnectionLost


def test_a_writer_that_is_held_up_learns_that_its_reader_is_gone(pair: Pair) -> None:
    pair.client.transport.pauseProducing()
    pair.server.transport.pauseProducing()
    pair.client.transport.write(b"x" * 3 * PIPE_BYTES)
    pair.flush()
    assert pair.client.lost is None
    pair.server.transport.abortConnection()
    pair.flush()
    assert pair.client.lost is ConnectionLost


def test_what_was_sent_before_a_reset_is_read(pair: Pair) -> None:
    pair.server.transport.pauseProducing()
    pair.client.transport.write(b"last words")
    pair.flush()
    pair.client.transport.abortConnection()
    pair.flush()
    pair.server.transport.resumeProducing()
    pair.flush()
    assert pair.server.data == b"last words"
    assert pair.server.lost is ConnectionLost


def test_a_connection_is_lost_once(pair: Pair) -> None:
    pair.client.transport.abortConnection()
    pair.network.links[0].cut()
    pair.flush()
    assert pair.client.lost is ConnectionAborted or pair.client.lost is ConnectionLost
    assert pair.network.links == []


def test_a_reader_that_pauses_holds_the_writer_up(pair: Pair) -> None:
    class Producer:
        paused = 0

        def pauseProducing(self) -> None:
            self.paused += 1

        def resumeProducing(self) -> None:
            self.paused -= 1

        def stopProducing(self) -> None:
            """Nothing to stop."""

    producer = Producer()
    pair.server.transport.pauseProducing()
    pair.client.transport.registerProducer(producer, True)
    pair.client.transport.write(b"x" * 3 * PIPE_BYTES)
    pair.flush()
    assert producer.paused == 1
    assert pair.server.data == b""
    pair.server.transport.resumeProducing()
    pair.flush()
    assert producer.paused == 0
    assert len(pair.server.data) == 3 * PIPE_BYTES
    pair.client.transport.unregisterProducer()


def test_a_protocol_that_fails_loses_its_connection(
    pair: Pair, logged_failures: list[Failure]
) -> None:
    def broken(data: bytes) -> None:
        raise ZeroDivisionError

    pair.server.dataReceived = broken  # type: ignore[method-assign]
    pair.client.transport.write(b"x")
    pair.flush()
    assert pair.server.lost is ZeroDivisionError
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()


# To connect.


def test_refused_so_many_times() -> None:
    server = MemoryServer()
    server.refuse_connections(2)
    outcomes = [failing(connecting(server)) for _ in range(3)]
    server.flush()
    assert outcomes == [[error.ConnectionRefusedError], [error.ConnectionRefusedError], []]
    assert server.connections == 1


def test_a_server_that_is_down_uses_up_no_refusal() -> None:
    server = MemoryServer()
    server.refuse_connections(1)
    server.kill()
    down = failing(connecting(server))
    server.flush()
    server.start()
    up = [failing(connecting(server)) for _ in range(2)]
    server.flush()
    assert [down, *up] == [[error.ConnectionRefusedError], [error.ConnectionRefusedError], []]


def test_an_attempt_hangs_while_all_is_stalled_and_times_out() -> None:
    server = MemoryServer()
    server.stall()
    short, long = connecting(server.endpoint(timeout=5)), connecting(server)
    server.advance(4)
    assert not short.called
    timed_out = failing(short)
    server.advance(2)
    assert timed_out == [error.TimeoutError]
    assert not long.called
    server.resume()
    server.flush()
    assert long.called
    server.advance(60)
    assert server.connections == 1


def test_an_attempt_can_be_cancelled() -> None:
    server = MemoryServer()
    attempt = connecting(server)
    outcome = failing(attempt)
    attempt.cancel()
    server.advance(60)
    assert outcome == [ConnectingCancelledError]
    assert server.connections == 0


def test_one_attempt_may_cancel_another() -> None:
    server = MemoryServer()
    first, second = connecting(server), connecting(server)
    first.addCallback(lambda _: second.cancel())
    cancelled = failing(second)
    server.flush()
    assert cancelled == [ConnectingCancelledError]
    assert server.connections == 1


def test_a_factory_is_started_and_stopped_once() -> None:
    server = MemoryServer()
    protocol = Protocol()
    factory = Tracked(protocol)
    server.run(server.endpoint().connect(factory))
    assert factory.uses == 1
    server.cut()
    server.flush()
    assert factory.uses == 0
    server.kill()
    refused = failing(server.endpoint().connect(factory))
    assert factory.uses == 1
    server.flush()
    assert refused == [error.ConnectionRefusedError]
    assert factory.uses == 0


def test_a_factory_without_a_protocol() -> None:
    server = MemoryServer()
    factory = Tracked(None)
    outcome = failing(server.endpoint().connect(factory))
    server.flush()
    assert outcome == [NoProtocol]
    assert factory.uses == 0
    assert server.connections == 0


# What goes wrong.


def test_in_pieces() -> None:
    server = MemoryServer(fragment=1)
    alice = log_in(server, "alice")
    alice.publish("hello", "alice")
    server.flush()
    assert len(alice.take()) == 2
    assert set(alice.pieces) == {1}
    server.fragment = 0
    alice.pieces.clear()
    alice.publish("hello", "alice")
    server.flush()
    assert max(alice.pieces) > 10


@pytest.mark.parametrize(
    ("to_server", "to_clients", "arrived"),
    [(True, True, (0, 0)), (True, False, (0, 1)), (False, True, (1, 0))],
)
def test_a_stall_holds_up_what_it_says(
    to_server: bool, to_clients: bool, arrived: tuple[int, int]
) -> None:
    server = MemoryServer()
    alice, bob = log_in(server, "alice"), log_in(server, "bob")
    bob.publish("before", "alice")
    alice.transport.pauseProducing()
    server.flush()
    server.stall(to_server=to_server, to_clients=to_clients)
    alice.publish("after", "alice")
    alice.transport.resumeProducing()
    server.advance(30)
    assert (len(server.received) - 1, min(1, len(alice.came))) == arrived
    server.resume()
    server.advance(120)
    assert len(server.received) == 2
    assert len(alice.take()) == 3
    assert alice.lost is None


def test_a_stall_of_one_leaves_the_others() -> None:
    server = MemoryServer()
    alice, bob = log_in(server, "alice"), log_in(server, "bob")
    server.stall("alice")
    for user in (alice, bob):
        user.publish("hello", "bob")
    server.flush()
    assert [message.from_ for message in server.received] == ["bob"]
    server.resume()
    server.flush()
    assert [message.from_ for message in server.received] == ["bob", "alice"]


def test_a_connection_that_is_stalled_for_a_minute_is_lost() -> None:
    server = MemoryServer()
    alice = log_in(server, "alice")
    server.stall(to_server=False)
    server.advance(59)
    assert server.users == {"alice": True}
    assert alice.lost is None
    server.advance(2)
    assert server.users == {"alice": False}
    assert alice.lost is not None
    assert alice.lost.check(ConnectionLost)


def test_stalls_add_up_and_end_together() -> None:
    server = MemoryServer()
    alice = log_in(server, "alice")
    server.stall("alice", to_clients=False)
    server.stall("alice", to_server=False)
    alice.publish("hello", "alice")
    server.advance(50)
    assert server.received == []
    server.resume()
    server.advance(100)
    assert alice.lost is None
    assert len(alice.take()) == 2


def test_a_stall_ends_with_its_connection() -> None:
    pair = Pair(HalfCloser(), HalfCloser())
    pair.network.stall(True, True)
    pair.network.links[0].cut()
    pair.flush()
    assert pair.clock.calls == []


def test_a_reset_hangs_in_a_stall_as_well() -> None:
    pair = Pair(HalfCloser(), HalfCloser())
    pair.network.stall(False, True)
    pair.server.transport.abortConnection()
    pair.flush()
    pair.client.transport.write(b"x")
    pair.flush()
    assert pair.server.lost is ConnectionAborted
    assert pair.client.lost is None
    pair.network.resume()
    pair.flush()
    assert pair.client.lost is ConnectionLost


def test_what_hung_when_a_client_left_is_answered_with_a_reset() -> None:
    pair = Pair(HalfCloser(), HalfCloser())
    pair.network.stall(False, True)
    pair.server.transport.write(b"hanging")
    pair.client.transport.loseConnection()
    pair.flush()
    assert pair.client.lost is ConnectionDone
    assert pair.server.events == ["read"]
    pair.server.transport.pauseProducing()
    pair.network.resume()
    pair.flush()
    pair.server.transport.write(b"more")
    pair.flush()
    assert pair.server.lost is ConnectionLost
