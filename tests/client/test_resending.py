"""What is unanswered when a connection is lost is sent again: once, in order."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from chat_protocol.client import Online
from chat_protocol.errors import (
    Unavailable,
    UserNotFound,
)
from tests.client import frames
from tests.client.line import Line, result, send, silence

# Resending.


def test_what_is_unanswered_is_sent_again_in_order_before_anything_new() -> None:
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


def test_what_is_sent_again_is_the_same_but_for_its_correlation_id() -> None:
    line = Line()
    silence(line.client.send(["bob", "carol"], "text"))
    (before,) = line.sent()
    line.reconnect()
    (after,) = line.sent()
    assert after.body == before.body


def test_what_was_refused_is_not_sent_again() -> None:
    line = Line()
    refused, sent = send(line, "a", "b")
    line.answer(line.sent()[0], frames.NOT_FOUND)
    with pytest.raises(UserNotFound):
        result(refused)
    line.reconnect()
    assert line.published() == [(2, "b")]
    silence(sent)


def test_that_the_store_is_away_says_nothing_of_what_was_stored_before() -> None:
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
def test_that_the_store_is_away_is_told_of_what_is_not_stored(reconnects: int) -> None:
    line = Line()
    (sent,) = send(line, "a")
    for _ in range(reconnects):
        line.reconnect(publishing_id="0")
    line.answer(line.sent()[0], frames.UNAVAILABLE)
    with pytest.raises(Unavailable):
        result(sent)


def test_an_answer_of_the_new_connection_counts() -> None:
    line = Line()
    (sent,) = send(line, "a")
    line.reconnect()
    line.answer_all()
    assert result(sent) is None
    line.reconnect()
    assert line.published() == []


def test_a_connection_that_is_lost_while_it_is_sent_again_changes_nothing() -> None:
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


def test_what_the_application_sends_while_it_is_sent_again_comes_behind() -> None:
    """One that this server does not take fails at once, in the middle of sending again."""
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


def test_what_an_observer_sends_comes_behind_what_is_sent_again() -> None:
    line = Line()
    sent = send(line, "a", "b")
    line.sent()
    line.client.add_observer(
        lambda event: sent.extend(send(line, "c")) if isinstance(event, Online) else None
    )
    line.reconnect()
    assert line.published() == [(1, "a"), (2, "b"), (3, "c")]
    silence(*sent)
