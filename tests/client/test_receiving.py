"""Messages that come: acknowledged, dropped when they come again, held back in version 1."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost

from chat_protocol.client import ReceivedMessage, ResumeState
from chat_protocol.client.service import DEFAULT_WINDOW
from chat_protocol.errors import NotConnected
from tests.client import frames
from tests.client.line import Line, result, silence, take

# Acknowledging.


def test_to_ask_for_the_next_acknowledges_the_one_before() -> None:
    line = Line()
    line.push(frames.deliver(3, "a"), frames.deliver(5, "b"))
    assert take(line) == ["a"]
    assert line.acknowledged() == []
    assert take(line) == ["b"]
    assert line.acknowledged() == [3]
    silence(line.client.receive())
    assert line.acknowledged() == [5]
    assert line.client.resume_state.offset == 5


def test_what_comes_while_somebody_waits_is_acknowledged_with_the_next() -> None:
    line = Line()
    receiving = line.client.receive()
    line.push(frames.deliver(3, "a"))
    assert result(receiving).text == "a"
    assert line.acknowledged() == []
    silence(line.client.receive())
    assert line.acknowledged() == [3]


def test_acknowledging_by_hand() -> None:
    line = Line(acknowledge=False)
    line.push(*(frames.deliver(number, str(number)) for number in (1, 2, 3)))
    one, two, three = (result(line.client.receive()) for _ in range(3))
    assert line.acknowledged() == []
    line.client.acknowledge(two)
    line.client.acknowledge(one)
    assert line.acknowledged() == [2], "all before it are taken as well"
    line.client.acknowledge(three)
    assert line.acknowledged() == [3]
    assert line.client.resume_state.offset == 3


def test_by_hand_what_was_taken_last_can_be_acknowledged_in_the_automatic_way_too() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"))
    line.client.acknowledge(result(line.client.receive()))
    assert line.acknowledged() == [1]
    silence(line.client.receive())
    assert line.acknowledged() == []


def test_what_was_not_taken_cannot_be_acknowledged() -> None:
    """A message out of the history, say."""
    line = Line(acknowledge=False)
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    take(line)
    line.client.acknowledge(ReceivedMessage("bob", "later", 0, (), offset=7))
    assert line.acknowledged() == [1]
    line.reconnect()
    line.push(frames.deliver(2, "b"), frames.deliver(5, "c"))
    assert take(line, 2) == ["b", "c"]


def test_version_1_acknowledges_nothing() -> None:
    line = Line(1)
    line.push(frames.delivery("a"), frames.delivery("b"))
    message = result(line.client.receive())
    line.client.acknowledge(message)
    take(line)
    assert line.sent() == []


# What comes again.


def test_what_was_seen_is_dropped_when_it_comes_again() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert take(line) == ["a"]
    line.reconnect()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"), frames.deliver(3, "c"))
    assert line.acknowledged() == [], "they wait for the application"
    assert take(line, 2) == ["b", "c"]
    assert line.acknowledged() == [1, 2]


def test_what_was_acknowledged_is_acknowledged_again_when_it_comes_again() -> None:
    """The acknowledgement was lost with the connection."""
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    take(line, 2)
    line.reconnect()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert line.acknowledged() == [1]
    silence(line.client.receive())
    assert line.acknowledged() == [2]


def test_what_is_acknowledged_while_there_is_no_connection_counts() -> None:
    line = Line(acknowledge=False)
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    message = result(line.client.receive())
    line.lose(ConnectionLost())
    line.client.acknowledge(message)
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert line.acknowledged() == [1]
    assert take(line) == ["b"]


def test_what_an_earlier_process_has_taken_is_acknowledged_and_dropped() -> None:
    line = Line(resume=ResumeState(offset=5))
    line.push(frames.deliver(4, "a"), frames.deliver(5, "b"), frames.deliver(6, "c"))
    assert line.acknowledged() == [4, 5]
    assert take(line) == ["c"]
    assert line.client.resume_state.offset == 5


def test_what_waits_outlives_the_connection() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    line.lose(ConnectionLost())
    assert take(line, 2) == ["a", "b"]
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"))
    assert line.acknowledged() == [1]


def test_a_receive_outlives_the_connection() -> None:
    line = Line()
    receiving = line.client.receive()
    line.reconnect()
    line.push(frames.deliver(1, "a"))
    assert result(receiving).text == "a"


def test_version_1_drops_nothing_and_undoes_no_offset() -> None:
    line = Line(2)
    line.push(frames.deliver(1, "a"))
    take(line)
    line.reconnect(1)
    line.push(frames.delivery("b"), frames.delivery("b"))
    assert take(line, 2) == ["b", "b"]
    assert line.client.resume_state.offset == 1


def test_a_server_that_ignores_the_window_is_left() -> None:
    line = Line()
    line.push(*(frames.deliver(number + 1, "x") for number in range(DEFAULT_WINDOW)))
    assert not line.transport.disconnected
    line.push(frames.deliver(DEFAULT_WINDOW + 1, "x"))
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    assert "more than the window of 250 messages" in str(line.events[-1])


def test_the_window_is_as_granted() -> None:
    line = Line(granted={"window": "400"}, window=0)
    line.push(*(frames.deliver(number + 1, "x") for number in range(400)))
    take(line, 100)
    line.push(*(frames.deliver(number + 401, "x") for number in range(100)))
    assert not line.transport.disconnected


# Who takes them.


def test_takers_are_served_in_their_order() -> None:
    line = Line()
    first, second = line.client.receive(), line.client.receive()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert (result(first).text, result(second).text) == ("a", "b")


def test_a_cancelled_taker_takes_nothing() -> None:
    line = Line()
    taker = line.client.receive()
    taker.cancel()
    line.push(frames.deliver(1, "a"))
    with pytest.raises(CancelledError):
        result(taker)
    assert take(line) == ["a"]


def test_after_the_end_what_had_come_can_be_taken() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"))
    stopping = line.client.stopService()
    line.push(frames.deliver(2, "b"))
    line.lose()
    result(stopping)
    assert take(line, 2) == ["a", "b"]
    with pytest.raises(NotConnected):
        take(line)


def test_what_waited_at_the_end_is_there_after_the_next_start() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    line.stop()
    line.client.startService()
    assert take(line) == ["a"]
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"), frames.deliver(3, "c"))
    assert take(line, 2) == ["b", "c"]


def test_the_end_reaches_all_takers_even_if_one_cancels_another() -> None:
    line = Line()
    first, second, third = (line.client.receive() for _ in range(3))
    silence(first, second)
    first.addBoth(lambda _: second.cancel())
    line.stop()
    assert second.called
    with pytest.raises(NotConnected):
        result(third)
