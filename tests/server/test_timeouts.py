"""Times of one server: to log in, and to finish a frame."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chat_protocol.server.state import ConnectionState
from chat_protocol.wire.commands import (
    Heartbeat,
)
from tests.server.fair import FairServer, server
from tests.server.line import Peer, frame, login, message

# Times.


@pytest.fixture
def watched() -> Iterator[FairServer]:
    own = server(login_seconds=100, frame_seconds=30)
    own.factory.startFactory()
    yield own
    own.factory.stopFactory()


def pass_time(own: FairServer, seconds: int) -> None:
    for _ in range(seconds):
        own.clock.advance(1)


def closing(peer: Peer) -> bool:
    return peer.protocol.state in (
        ConnectionState.ENDING,
        ConnectionState.LINGERING,
        ConnectionState.GONE,
    )


def test_a_connection_that_never_logs_in_is_closed(watched: FairServer, log: list[str]) -> None:
    first = watched.connect()
    pass_time(watched, 50)
    second, third = watched.connect(), watched.connect()
    third.send(login("alice"))
    pass_time(watched, 49)
    # Requests without a login, and one that is refused, are no login.
    first.say(Heartbeat())
    assert not closing(first)
    pass_time(watched, 2)
    assert closing(first)
    assert not closing(second)
    pass_time(watched, 50)
    assert closing(second)
    assert not closing(third)
    assert watched.met == {"login_seconds": 2}
    assert any(
        "closed because it has not logged in within 100 s (login_seconds)" in one for one in log
    )


def test_who_has_gone_is_not_waited_for(watched: FairServer) -> None:
    watched.connect().lose()
    pass_time(watched, 200)
    assert watched.met == {}


def test_a_frame_that_is_not_finished_ends_the_connection(
    watched: FairServer, log: list[str]
) -> None:
    alice, bob = watched.connect(), watched.connect()
    alice.send(login("alice"))
    bob.send(login("bob"))
    data = message("m" * 1000, "alice", "bob")
    at = 0
    while not closing(alice):
        assert at < 60
        alice.protocol.dataReceived(data[at : at + 1])
        # Slow, but each frame is done in time.
        for n in range(0, 50, 25):
            bob.protocol.dataReceived(frame(0x0009, b"\0\0\0\7")[n // 25 * 5 :][: 5 + n])
        watched.clock.advance(1)
        at += 1
    assert 30 <= at <= 51
    assert not closing(bob)
    assert watched.met == {"frame_seconds": 1}
    assert any("closed because it has not finished a frame within 30 s" in one for one in log)


def test_time_in_which_the_server_does_not_read_does_not_count(watched: FairServer) -> None:
    alice = watched.connect()
    alice.send(login("alice"))
    alice.protocol.dataReceived(message("m", "alice", "alice")[:5])
    alice.protocol.pause("test")
    pass_time(watched, 100)
    assert not closing(alice)
    alice.protocol.resume("test")
    pass_time(watched, 20)
    assert not closing(alice)


def test_0_turns_the_times_off() -> None:
    own = server(login_seconds=0, frame_seconds=0)
    own.factory.startFactory()
    peer = own.connect()
    peer.protocol.dataReceived(b"\0")
    pass_time(own, 10_000)
    assert not closing(peer)
    own.factory.stopFactory()
