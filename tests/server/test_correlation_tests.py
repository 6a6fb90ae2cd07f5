"""CorrelationIdTests in great numbers."""

from __future__ import annotations

import gc
import struct

import pytest

from chat_protocol.server import correlation_tests
from chat_protocol.server.correlation_tests import CORRELATION_TEST_SECONDS
from tests.server.line import ERROR, OK, Response, Server, frame


def c8(number: int) -> bytes:
    return frame(0x0009, struct.pack(">I", number))


def answers(server: Server, seconds: float) -> None:
    for _ in range(round(seconds / 0.01)):
        server.clock.advance(0.01)
        server.turn()


def test_the_delays_are_spread_over_all_of_the_time() -> None:
    server = Server()
    peer = server.logged_in("alice")
    assert peer.send(*(c8(n) for n in range(1000))) == []
    counts = []
    for _ in range(4):
        answers(server, CORRELATION_TEST_SECONDS / 4)
        counts.append(len(peer.received()))
    assert sum(counts) == 1000
    assert all(150 < count < 350 for count in counts)
    assert peer.protocol.correlation_tests == 0
    assert server.factory._correlation_tests._call is None


def test_there_is_a_limit_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation_tests, "TESTS", 5)
    server = Server()
    alice, bob = server.logged_in("alice"), server.logged_in("bob")
    assert alice.send(*(c8(n) for n in range(3))) == []
    assert bob.send(*(c8(n) for n in range(3))) == [Response(2, ERROR)]
    assert server.factory.counters.limits == {"TESTS": 1}
    # What is answered, and what nobody waits for any more, does not count.
    alice.lose()
    assert bob.send(*(c8(n) for n in (3, 4, 5, 6))) == [Response(6, ERROR)]
    answers(server, CORRELATION_TEST_SECONDS)
    assert sorted(bob.received()) == [Response(n, OK) for n in (0, 1, 3, 4, 5)]
    assert bob.send(*(c8(n) for n in range(6))) == [Response(5, ERROR)]
    bob.lose()
    assert not server.factory._correlation_tests._slots
    assert server.factory._correlation_tests._call is None


def test_a_test_leaves_nothing_to_the_garbage_collector() -> None:
    server = Server()
    peer = server.logged_in("alice")
    peer.send(c8(0))
    answers(server, CORRELATION_TEST_SECONDS)
    gc.collect()
    before = len(gc.get_objects())
    peer.send(*(c8(n) for n in range(1000)))
    # A list for each slot in use, and what the test holds itself.
    assert len(gc.get_objects()) - before < 1000
    answers(server, CORRELATION_TEST_SECONDS)
    assert len(peer.received()) == 1000
