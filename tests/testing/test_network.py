"""Connections in memory: what the transports do, and what goes wrong on purpose."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from chat_protocol.testing import MemoryServer
from chat_protocol.testing.pipe import PIPE_BYTES
from tests.testing.pair import HalfCloser, Pair

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
