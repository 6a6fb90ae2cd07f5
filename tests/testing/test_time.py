"""Time of the server in memory: nothing happens by itself."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater

from chat_protocol.testing import MemoryServer
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    CorrelationIdTest,
    Heartbeat,
    Login2,
    Response,
)
from tests.testing.user import OK, connecting, delivered, log_in, stored

# Time.


def test_nothing_happens_before_the_flush(server: MemoryServer) -> None:
    alice = log_in(server, "alice")
    alice.publish("hello", "alice")
    assert server.received == []
    server.flush()
    assert server.received == [stored(1, "hello", to="alice")]
    assert alice.take() == [delivered(1, "hello", to="alice"), OK]


def test_time_goes_on_to_each_event_in_turn(server: MemoryServer) -> None:
    seen: list[float] = []

    def note(delay: float) -> None:
        seen.append(server.clock.seconds())
        if len(seen) < 4:
            server.clock.callLater(delay, note, delay)

    server.clock.callLater(0.1, note, 0.7)
    server.advance(2)
    assert seen == pytest.approx([0.1, 0.8, 1.5])
    assert server.clock.seconds() == pytest.approx(2)


def test_the_server_has_its_time_too(server: MemoryServer) -> None:
    alice = log_in(server, "alice", heartbeat="10")
    server.advance(15)
    alice.send(Heartbeat())
    server.advance(15)
    assert alice.take() == [OK]
    server.advance(10)
    assert alice.take()[0].code == Code.HEARTBEAT_MISSED
    assert alice.lost is not None


def test_running_goes_on_as_far_as_needed(server: MemoryServer) -> None:
    clock = server.clock
    later: list[float] = []
    clock.callLater(9, lambda: later.append(clock.seconds()))

    async def coroutine() -> str:
        return await deferLater(clock, 2, lambda: "done")

    assert server.run(coroutine(), within=60) == "done"
    assert clock.seconds() == pytest.approx(2)
    assert server.run(succeed("at once"), within=60) == "at once"
    assert clock.seconds() == pytest.approx(2)
    assert later == []


def test_running_flushes_in_any_case(server: MemoryServer) -> None:
    alice = log_in(server, "alice")
    alice.publish("hello", "alice")
    server.run(succeed(None))
    assert len(server.received) == 1


def step_until(server: MemoryServer, deferred: Deferred[None]) -> None:
    """Handle one call of the clock at a time."""
    clock = server.clock
    assert isinstance(clock, Clock)
    while not deferred.called:
        call = clock.calls.pop(0)
        assert call.getTime() <= clock.seconds()
        call.called = 1
        call.func(*call.args, **call.kw)


def test_it_is_quiet_when_everything_is_done(server: MemoryServer) -> None:
    alice = server.run(connecting(server))
    alice.send(Login2("alice"))
    alice.publish("hello", "alice")
    step_until(server, server.when_quiet())
    assert len(alice.take()) == 3
    server.clock.callLater(0, server.clock.callLater, 0, alice.publish, "more", "alice")
    step_until(server, server.when_quiet())
    assert len(server.received) == 2
    assert len(alice.take()) == 2


def test_a_server_that_takes_several_turns_is_not_quiet(server: MemoryServer) -> None:
    assert server._process is not None
    clock = server._process.factory.clock
    left = [None] * 6

    def turn() -> None:
        if left:
            left.pop()
            clock.callLater(0, turn)

    turn()
    step_until(server, server.when_quiet())
    assert left == []


def test_nothing_is_left_to_be_done_when_it_has_stopped(server: MemoryServer) -> None:
    log_in(server, "alice")
    server.run(connecting(server))
    step_until(server, server.stop())
    assert list(server.clock.getDelayedCalls()) == []


def test_running_raises_what_it_comes_to_and_says_when_it_comes_to_nothing(
    server: MemoryServer,
) -> None:
    async def failing() -> None:
        raise KeyError("this")

    with pytest.raises(KeyError, match="this"):
        server.run(failing())
    never: Deferred[None] = Deferred()
    with pytest.raises(AssertionError, match="5 s"):
        server.run(never, within=5)
    assert server.clock.seconds() == 5


def test_a_clock_of_the_test_is_used() -> None:
    clock = Clock()
    clock.advance(7)
    server = MemoryServer(clock)
    assert server.clock is clock
    alice = log_in(server, "alice")
    alice.send(CorrelationIdTest())
    clock.advance(0)
    clock.advance(4)
    assert alice.take() == [Response(Code.OK)]
