"""When silence is too long, to the second (docs/protocol.md, S54)."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Heartbeat
from tests.server.line2 import OK, Peer2, Server2

STEP = 0.125
PROMISED = 5


@pytest.fixture
def server() -> Iterator[Server2]:
    made = Server2()
    made.factory.doStart()
    yield made
    made.factory.doStop()


def silence(server: Server2, peer: Peer2) -> float:
    """How long it takes from now until the connection is closed."""
    begin = server.clock.seconds()
    while not (heard := peer.heard()):
        server.clock.advance(STEP)
        server.turn()
        assert server.clock.seconds() < begin + 10 * PROMISED
    (closed,) = heard
    assert closed.code == Code.HEARTBEAT_MISSED
    return server.clock.seconds() - begin


@pytest.mark.parametrize("last", [STEP * n for n in range(0, 40, 3)])
def test_it_is_found_within_a_second(server: Server2, last: float) -> None:
    server.clock.advance(last / 3)
    alice = server.on("alice", heartbeat=str(PROMISED))
    server.clock.advance(last)
    assert alice.say(Heartbeat()) == [OK]
    assert 2 * PROMISED <= silence(server, alice) < 2 * PROMISED + 1


def test_part_of_a_frame_is_a_sign_of_life(server: Server2) -> None:
    alice = server.on("alice", heartbeat=str(PROMISED))
    server.clock.advance(2 * PROMISED - 1)
    alice.protocol.dataReceived(b"\0\0")
    assert silence(server, alice) >= 2 * PROMISED


def test_time_in_which_the_server_does_not_read_does_not_count(server: Server2) -> None:
    alice = server.on("alice", heartbeat=str(PROMISED))
    alice.protocol.pause("test")
    for _ in range(7 * PROMISED):
        server.clock.advance(1)
        server.turn()
    assert alice.heard() == []
    alice.protocol.resume("test")
    assert 2 * PROMISED <= silence(server, alice) < 2 * PROMISED + 1


def test_nothing_is_kept_of_a_session_that_has_ended(server: Server2) -> None:
    alice = server.on("alice", heartbeat=str(PROMISED))
    connection = ref(alice.protocol)
    alice.lose()
    del alice
    gc.collect()
    assert connection() is None
