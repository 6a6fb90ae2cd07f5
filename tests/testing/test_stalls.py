"""What goes wrong with connections in memory, on purpose."""

from __future__ import annotations

import pytest
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)

from chat_protocol.testing import MemoryServer
from tests.testing.pair import HalfCloser, Pair
from tests.testing.user import log_in

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
