"""Messages on their way: publishing ids, the order, what is in flight and what waits."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from chat_protocol.client import Online, ResumeState, State
from chat_protocol.client.outbox import IN_FLIGHT_LIMIT, UNSENT_LIMIT
from chat_protocol.client.service import DEFAULT_IN_FLIGHT
from chat_protocol.errors import (
    MailboxFull,
    NotConnected,
    RequestTimeout,
    TooManyUnsent,
    Unavailable,
    UnknownCommand,
    UserNotFound,
)

from . import frames
from .line import Line, result, silence


def send(line: Line, *texts: str) -> list[Deferred[None]]:
    return [line.client.send("bob", text) for text in texts]


# Publishing ids.


def test_ids_begin_above_the_one_that_the_server_has() -> None:
    line = Line(granted={"publishing_id": "41"})
    silence(*send(line, "a", "b"))
    assert line.published() == [(42, "a"), (43, "b")]
    assert line.client.resume_state.publishing_id == 43


def test_ids_begin_above_the_one_of_an_earlier_process() -> None:
    line = Line(granted={"publishing_id": "41"}, resume=ResumeState(publishing_id=50))
    silence(*send(line, "a"))
    assert line.published() == [(51, "a")]


def test_ids_go_on_above_those_of_another_session_of_the_user() -> None:
    line = Line()
    silence(*send(line, "a"))
    line.answer_all()
    line.reconnect(publishing_id="7")
    silence(*send(line, "b"))
    assert line.published() == [(8, "b")]


@pytest.mark.parametrize("granted", ["", "x", "-1", "1" * 30, "²"])
def test_an_id_that_is_no_number_is_none(granted: str) -> None:
    line = Line(granted={"publishing_id": granted})
    silence(*send(line, "a"))
    assert line.published() == [(1, "a")]


def test_what_waits_while_there_is_no_connection_is_sent_in_order() -> None:
    line = Line(None)
    silence(*send(line, "a", "b", "c"))
    line.connect()
    line.log_in(publishing_id="5")
    assert line.published() == [(6, "a"), (7, "b"), (8, "c")]


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


# Ids that the application chooses.


def test_ids_of_the_application_are_taken_as_they_are() -> None:
    line = Line(None)
    silence(
        line.client.send("bob", "a", publishing_id=7),
        line.client.send_to_all("b", publishing_id=9),
    )
    assert line.client.resume_state.publishing_id == 9
    line.connect()
    line.log_in(publishing_id="8")
    assert line.published() == [(7, "a"), (9, "b")]


def test_ids_of_the_application_have_to_grow() -> None:
    line = Line()
    silence(line.client.send("bob", "a", publishing_id=7))
    for number in (7, 6):
        with pytest.raises(ValueError, match=f"{number} is not above 7"):
            result(line.client.send("bob", "b", publishing_id=number))
    assert line.published() == [(7, "a")]


@pytest.mark.parametrize("number", [-1, 2**64])
def test_an_id_that_is_no_uint64_is_a_value_error(number: int) -> None:
    line = Line()
    with pytest.raises(ValueError, match="uint64"):
        result(line.client.send("bob", "a", publishing_id=number))
    silence(*send(line, "b"))
    assert line.published() == [(1, "b")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_ids_are_chosen_for_all_or_for_none(order: tuple[int, int]) -> None:
    line = Line()
    first, second = order
    silence(line.client.send("bob", "a", publishing_id=first))
    with pytest.raises(ValueError, match="or for none"):
        result(line.client.send("bob", "b", publishing_id=second))
    assert len(line.published()) == 1


# Limits.


def test_no_more_are_in_flight_than_may_be() -> None:
    line = Line(in_flight=2)
    silence(*send(line, *"abcde"))
    a, b = line.sent()
    line.answer(b)
    (c,) = line.sent()
    line.answer(a, frames.NOT_FOUND)
    (d,) = line.sent()
    texts = [frames.publish(frame.body).text for frame in (a, b, c, d)]
    assert texts == list("abcd")
    line.reconnect()
    assert line.published() == [(3, "c"), (4, "d")]


@pytest.mark.parametrize(
    ("asked", "limit"), [(None, DEFAULT_IN_FLIGHT), (5000, IN_FLIGHT_LIMIT), (1, 1)]
)
def test_how_many_are_in_flight(asked: int | None, limit: int) -> None:
    options: dict[str, Any] = {} if asked is None else {"in_flight": asked}
    line = Line(None, **options)
    silence(*send(line, *["x"] * 2000))
    line.connect()
    line.log_in()
    assert len(line.sent()) == limit


def test_nothing_in_flight_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="in_flight"):
        Line(in_flight=0)


def test_too_many_unsent() -> None:
    line = Line(None)
    silence(*send(line, *["x"] * UNSENT_LIMIT))
    (refused,) = send(line, "one more")
    with pytest.raises(TooManyUnsent, match="10000 messages wait"):
        result(refused)
    line.connect()
    line.log_in()
    assert len(line.sent()) == DEFAULT_IN_FLIGHT
    silence(*send(line, *["x"] * DEFAULT_IN_FLIGHT))
    (refused,) = send(line, "one more")
    with pytest.raises(TooManyUnsent):
        result(refused)


def test_too_many_unsent_can_be_sent_with_the_same_id_later() -> None:
    line = Line(None, in_flight=1)
    for number in range(UNSENT_LIMIT):
        silence(line.client.send("bob", "x", publishing_id=number + 1))
    with pytest.raises(TooManyUnsent):
        result(line.client.send("bob", "y", publishing_id=UNSENT_LIMIT + 1))
    line.connect()
    line.log_in()
    silence(line.client.send("bob", "y", publishing_id=UNSENT_LIMIT + 1))


# Cancelling.


def test_what_is_cancelled_before_it_was_sent_never_is() -> None:
    line = Line(None)
    first, second, third = send(line, *"abc")
    second.cancel()
    with pytest.raises(CancelledError):
        result(second)
    line.connect()
    line.log_in()
    assert line.published() == [(1, "a"), (2, "c")]
    silence(first, third)


def test_what_is_cancelled_when_it_was_sent_is_sent_again_all_the_same() -> None:
    line = Line(in_flight=1)
    first, second = send(line, *"ab")
    first.cancel()
    with pytest.raises(CancelledError):
        result(first)
    assert line.published() == [(1, "a")]
    line.reconnect()
    (a,) = line.sent()
    assert frames.publish(a.body).text == "a"
    line.answer(a)
    line.answer_all()
    assert result(second) is None


# The end.


def test_stopping_fails_all_in_order_and_says_what_is_not_known() -> None:
    line = Line(in_flight=2)
    sent = send(line, *"abcd")
    order: list[tuple[str, str]] = []

    def note(failure: Failure, text: str) -> None:
        order.append((text, str(failure.value)))

    for text, one in zip("abcd", sent, strict=True):
        one.addErrback(note, text)
    stopping = line.client.stopService()
    with pytest.raises(NotConnected, match="stopped"):
        result(line.client.send("bob", "e"))
    line.lose()
    assert result(stopping) is None
    unknown = "this client has stopped; whether the message was stored is not known"
    assert order == [
        ("a", unknown),
        ("b", unknown),
        ("c", "this client has stopped"),
        ("d", "this client has stopped"),
    ]
    with pytest.raises(NotConnected):
        result(line.client.send("bob", "f"))


def test_what_is_sent_before_the_start_waits_for_it() -> None:
    line = Line()
    line.stop()
    line.client.startService()
    (sent,) = send(line, "a")
    line.connect()
    line.log_in()
    line.answer_all()
    assert result(sent) is None


def test_a_stopped_client_sends_nothing_more() -> None:
    line = Line(in_flight=1)
    sent = send(line, "a", "b")
    stopping = line.client.stopService()
    publish, _ = line.sent()
    line.answer(publish)
    assert result(sent[0]) is None
    assert line.sent() == []
    line.lose()
    result(stopping)
    with pytest.raises(NotConnected):
        result(sent[1])


def test_who_is_told_may_start_again_and_send() -> None:
    line = Line()
    first, second = send(line, "a", "b")
    again: list[Deferred[None]] = []

    def start(_: Failure) -> None:
        line.client.startService()
        again.extend(send(line, "c"))

    first.addErrback(start)
    receiving = line.client.receive()
    stopping = line.client.stopService()
    line.lose()
    assert result(stopping) is None
    with pytest.raises(NotConnected):
        result(second)
    with pytest.raises(NotConnected):
        result(receiving)
    assert not again[0].called
    later = line.client.receive()
    line.connect()
    line.log_in()
    line.push(frames.deliver(1, "hi"))
    assert result(later).text == "hi"
    line.answer_all()
    assert result(again[0]) is None


# Version 1.


def test_several_recipients_get_one_message_each_in_version_1() -> None:
    line = Line(1)
    sent = line.client.send(["bob", "carol", "bob"], "text")
    first, second = line.sent()
    assert [frames.strings(frame.body, 3)[2] for frame in (first, second)] == ["bob", "carol"]
    line.answer(second)
    assert not sent.called
    line.answer(first)
    assert result(sent) is None


def test_one_of_several_that_is_refused_fails_the_message_in_version_1() -> None:
    line = Line(1)
    sent = line.client.send(["bob", "carol"], "text")
    first, second = line.sent()
    line.answer(second, frames.NOT_FOUND)
    with pytest.raises(UserNotFound):
        result(sent)
    line.answer(first)


def test_version_1_cannot_send_to_everyone() -> None:
    line = Line(1)
    with pytest.raises(UnknownCommand, match="version 1"):
        result(line.client.send_to_all("text"))
    assert line.sent() == []


def test_many_that_fail_at_once_do_not_pile_up() -> None:
    line = Line(None)
    sent = [line.client.send_to_all("text") for _ in range(3000)]
    last = line.client.send("bob", "last")
    line.connect()
    line.log_in(1)
    for one in sent:
        with pytest.raises(UnknownCommand):
            result(one)
    line.answer_all()
    assert result(last) is None


def test_what_is_unanswered_when_a_version_1_connection_is_lost_is_not_known() -> None:
    line = Line(1)
    sent = send(line, "a", "b")
    line.lose(ConnectionLost())
    for one in sent:
        with pytest.raises(NotConnected, match=r"connection was lost.*; whether .* is not known"):
            result(one)
    waiting = send(line, "c")
    line.connect()
    line.log_in(1)
    (c,) = line.sent()
    assert frames.strings(c.body, 1) == ["c"]
    line.answer(c)
    assert result(waiting[0]) is None


def test_a_version_1_message_without_an_answer_times_out() -> None:
    line = Line(1, in_flight=1)
    first, second = send(line, "a", "b")
    (a,) = line.sent()
    line.clock.advance(10)
    with pytest.raises(RequestTimeout, match="within 10 seconds"):
        result(first)
    (b,) = line.sent()
    line.answer(a, frames.NOT_FOUND)
    line.answer(b)
    assert result(second) is None
    assert line.client.state is State.ONLINE


def test_a_version_2_message_waits_for_its_answer_as_long_as_it_takes() -> None:
    line = Line()
    (sent,) = send(line, "a")
    line.clock.advance(1000)
    line.answer_all(frames.MAILBOX_FULL)
    with pytest.raises(MailboxFull):
        result(sent)


def test_a_server_that_is_another_one_gets_nothing_a_second_time() -> None:
    line = Line(2, in_flight=2)
    sent = send(line, "a", "b", "c")
    line.reconnect(1)
    for one in sent[:2]:
        with pytest.raises(NotConnected, match=r"another one; whether .* is not known"):
            result(one)
    (c,) = line.sent()
    assert (c.key, frames.strings(c.body, 1)) == (frames.MESSAGE, ["c"])
    silence(sent[2])


def test_a_server_that_was_upgraded_is_spoken_to_in_version_2() -> None:
    line = Line(1)
    silence(*send(line, "a"))
    line.reconnect(2, publishing_id="4")
    sent = send(line, "b")
    assert [text for _, text in line.published()] == ["b"]
    line.reconnect()
    line.answer_all()
    assert result(sent[0]) is None
    assert line.client.version == 2
