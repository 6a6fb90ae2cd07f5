"""Incoming messages: acknowledgement and deduplication."""

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


def test_receiving_the_next_message_acknowledges_the_previous_one() -> None:
    line = Line()
    line.push(frames.deliver(3, "a"), frames.deliver(5, "b"))
    assert take(line) == ["a"]
    assert line.acknowledged() == []
    assert take(line) == ["b"]
    assert line.acknowledged() == [3]
    silence(line.client.receive())
    assert line.acknowledged() == [5]
    assert line.client.resume_state.offset == 5


def test_a_message_for_a_waiting_receiver_is_acknowledged_with_the_next() -> None:
    line = Line()
    receiving = line.client.receive()
    line.push(frames.deliver(3, "a"))
    assert result(receiving).text == "a"
    assert line.acknowledged() == []
    silence(line.client.receive())
    assert line.acknowledged() == [3]


def test_manual_acknowledgement() -> None:
    line = Line(acknowledge=False)
    line.push(*(frames.deliver(number, str(number)) for number in (1, 2, 3)))
    one, two, three = (result(line.client.receive()) for _ in range(3))
    assert line.acknowledged() == []
    line.client.acknowledge(two)
    line.client.acknowledge(one)
    assert line.acknowledged() == [2], "this acknowledges all before it"
    line.client.acknowledge(three)
    assert line.acknowledged() == [3]
    assert line.client.resume_state.offset == 3


def test_the_last_message_can_be_acknowledged_manually_in_automatic_mode() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"))
    line.client.acknowledge(result(line.client.receive()))
    assert line.acknowledged() == [1]
    silence(line.client.receive())
    assert line.acknowledged() == []


def test_an_untaken_message_cannot_be_acknowledged() -> None:
    """Such as a message from the history."""
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


# Duplicates.


def test_a_duplicate_is_dropped() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert take(line) == ["a"]
    line.reconnect()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"), frames.deliver(3, "c"))
    assert line.acknowledged() == [], "the application has not taken them"
    assert take(line, 2) == ["b", "c"]
    assert line.acknowledged() == [1, 2]


def test_a_duplicate_of_an_acknowledged_message_is_acknowledged_again() -> None:
    """The acknowledgement was lost with the connection."""
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    take(line, 2)
    line.reconnect()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert line.acknowledged() == [1]
    silence(line.client.receive())
    assert line.acknowledged() == [2]


def test_an_acknowledgement_while_offline_counts() -> None:
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


def test_messages_taken_by_an_earlier_process_are_acknowledged_and_dropped() -> None:
    line = Line(resume=ResumeState(offset=5))
    line.push(frames.deliver(4, "a"), frames.deliver(5, "b"), frames.deliver(6, "c"))
    assert line.acknowledged() == [4, 5]
    assert take(line) == ["c"]
    assert line.client.resume_state.offset == 5


def test_queued_messages_survive_the_connection() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    line.lose(ConnectionLost())
    assert take(line, 2) == ["a", "b"]
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"))
    assert line.acknowledged() == [1]


def test_a_pending_receive_survives_the_connection() -> None:
    line = Line()
    receiving = line.client.receive()
    line.reconnect()
    line.push(frames.deliver(1, "a"))
    assert result(receiving).text == "a"


def test_version_1_drops_no_duplicates_and_keeps_the_offset() -> None:
    line = Line(2)
    line.push(frames.deliver(1, "a"))
    take(line)
    line.reconnect(1)
    line.push(frames.delivery("b"), frames.delivery("b"))
    assert take(line, 2) == ["b", "b"]
    assert line.client.resume_state.offset == 1


def test_a_server_that_exceeds_the_window_is_disconnected() -> None:
    line = Line()
    line.push(*(frames.deliver(number + 1, "x") for number in range(DEFAULT_WINDOW)))
    assert not line.transport.disconnected
    line.push(frames.deliver(DEFAULT_WINDOW + 1, "x"))
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    assert "the server exceeded the window of 250 messages" in str(line.events[-1])


def test_the_granted_window_is_used() -> None:
    line = Line(granted={"window": "400"}, window=0)
    line.push(*(frames.deliver(number + 1, "x") for number in range(400)))
    take(line, 100)
    line.push(*(frames.deliver(number + 401, "x") for number in range(100)))
    assert not line.transport.disconnected


# Receivers.


def test_receivers_are_served_in_order() -> None:
    line = Line()
    first, second = line.client.receive(), line.client.receive()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    assert (result(first).text, result(second).text) == ("a", "b")


def test_a_canceled_receiver_takes_nothing() -> None:
    line = Line()
    taker = line.client.receive()
    taker.cancel()
    line.push(frames.deliver(1, "a"))
    with pytest.raises(CancelledError):
        result(taker)
    assert take(line) == ["a"]


def test_received_messages_can_be_taken_after_the_end() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"))
    stopping = line.client.stopService()
    line.push(frames.deliver(2, "b"))
    line.lose()
    result(stopping)
    assert take(line, 2) == ["a", "b"]
    with pytest.raises(NotConnected):
        take(line)


def test_queued_messages_survive_a_restart_of_the_client() -> None:
    line = Line()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"))
    line.stop()
    line.client.startService()
    assert take(line) == ["a"]
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "a"), frames.deliver(2, "b"), frames.deliver(3, "c"))
    assert take(line, 2) == ["b", "c"]


def test_the_end_reaches_all_receivers_even_if_one_cancels_another() -> None:
    line = Line()
    first, second, third = (line.client.receive() for _ in range(3))
    silence(first, second)
    first.addBoth(lambda _: second.cancel())
    line.stop()
    assert second.called
    with pytest.raises(NotConnected):
        result(third)
