from __future__ import annotations

from chat_protocol.client import ReceivedMessage
from chat_protocol.client.inbox import Inbox
from chat_protocol.client.waiters import Waiters
from tests.client.line import result, silence


def message(text: str, offset: int = 0) -> ReceivedMessage:
    return ReceivedMessage("bob", text, 0, ("alice",), offset=offset)


def inbox(sent: list[int] | None = None) -> Inbox:
    return Inbox(0, True, ([] if sent is None else sent).append)


def test_messages_are_returned_in_order() -> None:
    box = inbox()
    box.put(message("a"), 1)
    box.put(message("b"), 1)
    assert [result(box.take()).text for _ in range(2)] == ["a", "b"]


def test_size_is_the_weight_of_the_queue() -> None:
    box = inbox()
    box.put(message("a"), 5)
    box.put(message("b", 3), 7)
    assert (box.size, box.numbered_count) == (12, 1)
    result(box.take())
    assert (box.size, box.numbered_count) == (7, 1)
    result(box.take())
    assert (box.size, box.numbered_count) == (0, 0)


def test_a_message_for_a_waiting_receiver_weighs_nothing() -> None:
    box = inbox()
    taker = box.take()
    box.put(message("a", 1), 5)
    assert result(taker).text == "a"
    assert (box.size, box.numbered_count) == (0, 0)


def test_receiving_again_in_a_callback_acknowledges() -> None:
    sent: list[int] = []
    box = inbox(sent)
    box.take().addCallback(lambda _: silence(box.take()))
    box.put(message("a", 1), 1)
    assert sent == [1]


def test_a_deferred_added_while_others_fire_waits_for_the_next_event() -> None:
    waiters: Waiters[int] = Waiters()
    again = []
    first = waiters.wait().addCallback(lambda _: again.append(waiters.wait()))
    waiters.fire(1)
    assert first.called
    assert not again[0].called
    waiters.fire(2)
    assert result(again[0]) == 2


def test_a_canceled_deferred_is_skipped() -> None:
    waiters: Waiters[int] = Waiters()
    first, second = waiters.wait(), waiters.wait()
    silence(first)
    first.cancel()
    assert waiters.pop() is second
    assert not waiters
