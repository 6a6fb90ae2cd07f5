"""Work that is left over for later turns."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chat_protocol.domain.turn import Turn
from chat_protocol.transport.backlog import Backlog
from tests.server.reactor import Reactor


def made(seconds: float = 3) -> tuple[Backlog, Reactor, list[str]]:
    reactor = Reactor()
    turn = Turn(reactor)
    done: list[str] = []
    turn.end = partial(done.append, "end")
    return Backlog(reactor, turn, seconds), reactor, done


def test_work_is_done_in_a_later_turn_which_then_ends() -> None:
    backlog, reactor, done = made()
    assert backlog.idle
    backlog.add("a", partial(_work, backlog, done, "a"))
    assert done == []
    assert not backlog.idle
    reactor.advance(0)
    assert done == ["a"]
    assert backlog.idle
    assert reactor.getDelayedCalls() == []


def _work(backlog: Backlog, done: list[str], name: str) -> None:
    done.append(name)


def test_a_turn_has_little_time_and_keys_come_in_turn() -> None:
    backlog, reactor, done = made(3)
    for name in ("a1", "a2", "a3", "a4", "b1"):
        backlog.add(name[0], partial(done.append, name))
    reactor.step = 1
    _one_turn(reactor)
    assert done == ["a1", "b1", "a2"]
    _one_turn(reactor)
    assert done == ["a1", "b1", "a2", "a3", "a4"]


def _one_turn(clock: Clock) -> None:
    calls, clock.calls = clock.calls, []
    for call in calls:
        call.called = 1
        call.func()


def test_a_fault_ends_nothing_else(logged_failures: list[Failure]) -> None:
    backlog, reactor, done = made()

    def fail() -> None:
        raise ZeroDivisionError

    backlog.add("a", fail)
    backlog.add("b", partial(done.append, "b"))
    reactor.advance(0)
    assert done == ["b"]
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()


def test_work_is_dropped() -> None:
    backlog, reactor, done = made()
    backlog.add("a", partial(done.append, "a"))
    backlog.cancel()
    reactor.advance(0)
    assert done == []
    assert reactor.getDelayedCalls() == []
