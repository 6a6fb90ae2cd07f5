"""Messages in flight are resent after a reconnect, once and in order."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from chat_protocol.client import Online
from chat_protocol.errors import (
    OutOfOrder,
    Unavailable,
    UserNotFound,
)
from tests.client import frames
from tests.client.line import Line, result, send, silence

# Resending.


def test_messages_in_flight_are_resent_in_order_before_new_ones() -> None:
    line = Line(in_flight=4)
    sent = send(line, *"abcdef")
    _, b, _, d = line.sent()
    line.answer(b)
    line.answer(d)
    assert line.published() == [(5, "e"), (6, "f")]
    line.lose(ConnectionLost())
    sent += send(line, "g")
    line.connect()
    assert [one.called for one in sent] == [False, True, False, True, False, False, False]
    line.log_in(publishing_id="5")
    assert line.published() == [(1, "a"), (3, "c"), (5, "e"), (6, "f")]
    silence(*sent)


def test_a_resent_message_differs_only_in_its_correlation_id() -> None:
    line = Line()
    silence(line.client.send(["bob", "carol"], "text"))
    (before,) = line.sent()
    line.reconnect()
    (after,) = line.sent()
    assert after.body == before.body


def test_a_refused_message_is_not_resent() -> None:
    line = Line()
    refused, sent = send(line, "a", "b")
    line.answer(line.sent()[0], frames.NOT_FOUND)
    with pytest.raises(UserNotFound):
        result(refused)
    line.reconnect()
    assert line.published() == [(2, "b")]
    silence(sent)


def test_unavailable_is_not_final_for_a_message_that_may_be_stored() -> None:
    line = Line()
    (before,) = send(line, "a")
    line.reconnect(publishing_id="1")
    (behind,) = send(line, "b")
    first, second = line.sent()
    line.answer(first, frames.UNAVAILABLE)
    line.answer(second, frames.UNAVAILABLE)
    assert not before.called
    assert not behind.called
    line.lose(ConnectionLost())
    line.connect()
    line.log_in(publishing_id="1")
    assert line.published() == [(1, "a"), (2, "b")]
    silence(before, behind)


@pytest.mark.parametrize("reconnects", [0, 1])
def test_unavailable_is_final_for_a_message_that_is_not_stored(reconnects: int) -> None:
    line = Line()
    (sent,) = send(line, "a")
    for _ in range(reconnects):
        line.reconnect(publishing_id="0")
    line.answer(line.sent()[0], frames.UNAVAILABLE)
    with pytest.raises(Unavailable):
        result(sent)


def test_an_answer_on_the_new_connection_counts() -> None:
    line = Line()
    (sent,) = send(line, "a")
    line.reconnect()
    line.answer_all()
    assert result(sent) is None
    line.reconnect()
    assert line.published() == []


def test_a_connection_lost_while_resending_changes_nothing() -> None:
    line = Line()
    sent = send(line, *"abc")
    for _ in range(2):
        line.reconnect()
        a, *_ = line.sent()
        assert frames.publish(a.body).publishing_id == 1
    line.answer(a)
    line.reconnect()
    assert line.published() == [(2, "b"), (3, "c")]
    silence(*sent)


def test_a_message_sent_while_resending_follows_the_resent_ones() -> None:
    """A message above the server's frame limit fails at once, in the middle of resending."""
    line = Line()
    sent = [
        line.client.send("bob", "a" * 100),
        line.client.send("bob", "b"),
        line.client.send("bob", "c"),
    ]

    def more(failure: Failure) -> None:
        assert failure.check(ValueError)
        sent.extend(send(line, "d"))

    sent[0].addErrback(more)
    line.sent()
    line.reconnect(max_frame_length="80")
    assert line.published() == [(2, "b"), (3, "c"), (4, "d")]
    silence(*sent)


def test_a_message_sent_by_an_observer_follows_the_resent_ones() -> None:
    line = Line()
    sent = send(line, "a", "b")
    line.sent()
    line.client.add_observer(
        lambda event: sent.extend(send(line, "c")) if isinstance(event, Online) else None
    )
    line.reconnect()
    assert line.published() == [(1, "a"), (2, "b"), (3, "c")]
    silence(*sent)


@pytest.mark.parametrize("reconnects", [0, 1])
def test_a_message_refused_as_out_of_order_fails_and_keeps_its_id_unused(reconnects: int) -> None:
    """The server has stored a later message, so it never stores this one under its id."""
    line = Line()
    refused, stored = send(line, "a", "b")
    for _ in range(reconnects):
        line.reconnect(publishing_id="2")
    first, second = line.sent()
    line.answer(first, frames.OUT_OF_ORDER, "publishingId 1 was not stored, but 2 was")
    line.answer(second)
    with pytest.raises(OutOfOrder, match="publishingId 1 was not stored, but 2 was"):
        result(refused)
    assert result(stored) is None
    line.reconnect(publishing_id="2")
    assert line.published() == []
    silence(*send(line, "a"))
    assert line.published() == [(3, "a")]


def test_out_of_order_without_a_detail_says_that_it_was_not_stored() -> None:
    line = Line()
    (refused,) = send(line, "a")
    line.answer(line.sent()[0], frames.OUT_OF_ORDER)
    with pytest.raises(OutOfOrder, match="this one was not stored"):
        result(refused)
