from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError

from chat_protocol.client import ReceivedMessage
from chat_protocol.client.inbox import Inbox
from chat_protocol.errors import NotConnected

from .line import result


def message(text: str) -> ReceivedMessage:
    return ReceivedMessage("bob", text, 0, "alice")


def over() -> NotConnected:
    return NotConnected("over")


def test_messages_come_in_their_order() -> None:
    inbox = Inbox()
    inbox.put(message("a"), 1)
    inbox.put(message("b"), 1)
    assert [result(inbox.take()).text for _ in range(2)] == ["a", "b"]


def test_size_is_the_weight_of_what_waits() -> None:
    inbox = Inbox()
    inbox.put(message("a"), 5)
    inbox.put(message("b"), 7)
    assert inbox.size == 12
    result(inbox.take())
    assert inbox.size == 7


def test_takers_are_served_in_their_order_and_nothing_is_kept() -> None:
    inbox = Inbox()
    first, second = inbox.take(), inbox.take()
    inbox.put(message("a"), 5)
    inbox.put(message("b"), 5)
    assert (result(first).text, result(second).text) == ("a", "b")
    assert inbox.size == 0


def test_a_cancelled_taker_takes_nothing() -> None:
    inbox = Inbox()
    taker = inbox.take()
    taker.cancel()
    inbox.put(message("a"), 1)
    with pytest.raises(CancelledError):
        result(taker)
    assert result(inbox.take()).text == "a"


def test_what_is_there_can_be_taken_after_the_end() -> None:
    inbox = Inbox()
    inbox.put(message("a"), 1)
    inbox.close(over)
    assert result(inbox.take()).text == "a"
    with pytest.raises(NotConnected):
        result(inbox.take())


def test_the_end_reaches_all_takers() -> None:
    inbox = Inbox()
    takers = [inbox.take(), inbox.take()]
    inbox.close(over)
    for taker in takers:
        with pytest.raises(NotConnected):
            result(taker)
