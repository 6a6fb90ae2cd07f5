"""The end of a reactor turn comes once, however often it is requested."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chat_protocol.domain.turn import Turn


class Output:
    def __init__(self, order: list[str], name: str) -> None:
        self._order = order
        self._name = name

    def flush(self) -> None:
        self._order.append(self._name)
        if self._name == "faulty":
            raise ValueError(self._name)

    def abort(self) -> None:
        self._order.append(f"abort {self._name}")


class Ends:
    """Counts the ends of turns, and does in each what the test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.turn.end = self.end
        self.count = 0
        self.requests = 0

    def end(self) -> None:
        assert self.turn.ending
        self.count += 1
        if self.requests:
            self.requests -= 1
            self.turn.request()
            self.turn.request()


def test_it_ends_once_however_often_that_is_requested() -> None:
    ends = Ends()
    for _ in range(3):
        ends.turn.request()
    assert ends.count == 0
    ends.clock.advance(0)
    assert ends.count == 1
    assert ends.clock.getDelayedCalls() == []


def test_what_is_requested_in_the_end_is_for_the_next_turn() -> None:
    ends = Ends()
    ends.requests = 2
    with ends.turn:
        ends.turn.request()
    assert ends.count == 1
    ends.clock.advance(0)
    assert ends.count == 3
    assert ends.clock.getDelayedCalls() == []


def test_a_reader_ends_the_turn_without_a_delayed_call() -> None:
    ends = Ends()
    with ends.turn:
        ends.turn.request()
        ends.turn.request()
        assert ends.count == 0
    assert ends.count == 1
    with ends.turn:
        pass
    assert ends.count == 1
    assert ends.clock.getDelayedCalls() == []


def test_a_reader_takes_over_what_was_requested_before() -> None:
    ends = Ends()
    ends.turn.request()
    with ends.turn:
        assert ends.clock.getDelayedCalls() == []
    assert ends.count == 1


def test_deliveries_are_flushed_before_answers() -> None:
    order: list[str] = []
    ends = Ends()
    ends.turn.end = ends.turn.flush
    ends.turn.answering(Output(order, "answer"))
    ends.turn.delivering(Output(order, "delivery"))
    ends.clock.advance(0)
    assert order == ["delivery", "answer"]


def test_a_fault_of_one_output_concerns_no_other(logged_failures: list[Failure]) -> None:
    order: list[str] = []
    ends = Ends()
    ends.turn.end = ends.turn.flush
    for name in ("first", "faulty", "last"):
        ends.turn.answering(Output(order, name))
    ends.clock.advance(0)
    assert order == ["first", "faulty", "abort faulty", "last"]
    assert [one.check(ValueError) for one in logged_failures] == [ValueError]
    logged_failures.clear()


def test_a_fault_in_the_end_stops_no_later_turn() -> None:
    ends = Ends()

    def fail() -> None:
        raise ValueError("fault")

    ends.turn.end = fail
    ends.turn.request()
    with pytest.raises(ValueError, match="fault"):
        ends.clock.advance(0)
    ends.turn.end = ends.end
    ends.turn.request()
    ends.clock.advance(0)
    assert ends.count == 1


def test_what_is_cancelled_does_not_come() -> None:
    ends = Ends()
    ends.turn.request()
    ends.turn.answering(Output([], "answer"))
    ends.turn.cancel()
    assert ends.clock.getDelayedCalls() == []
    ends.turn.request()
    ends.clock.advance(0)
    assert ends.count == 1
