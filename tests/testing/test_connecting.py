"""Getting a connection in memory, or not."""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.error import (
    ConnectingCancelledError,
    NoProtocol,
)
from twisted.internet.protocol import Protocol

from chat_protocol.testing import MemoryServer
from tests.testing.pair import Tracked, failing
from tests.testing.user import connecting

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
