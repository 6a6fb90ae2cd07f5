"""Outgoing messages: publishing ids, order, messages in flight and the queue."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chat_protocol.client import ReceivedMessage, ResumeState
from chat_protocol.client.outbox import IN_FLIGHT_LIMIT, UNSENT_LIMIT
from chat_protocol.client.service import DEFAULT_IN_FLIGHT
from chat_protocol.errors import (
    Malformed,
    NotConnected,
    OutOfOrder,
    TooManyUnsent,
    UserNotFound,
)
from tests.client import frames
from tests.client.line import Line, result, send, silence


def test_several_in_one_call() -> None:
    line = Line()
    sending = line.client.send_many([("bob", "1"), (["bob", "nobody"], "2"), ("bob", "x" * 70_000)])
    first, second = line.sent()
    line.push(frames.response_2(second.correlation_id, frames.NOT_FOUND, "nobody"))
    assert not sending.called
    line.push(frames.response_2(first.correlation_id))
    stored, refused, too_long = result(sending)
    assert stored is None
    assert (type(refused), str(refused)) == (UserNotFound, "nobody")
    assert isinstance(too_long, ValueError)
    assert result(line.client.send_many([])) == []


def test_a_reply_goes_to_the_sender() -> None:
    line = Line()
    line.push(frames.deliver(1, "hello"))
    message = result(line.client.receive())
    silence(message.reply("welcome"))
    (frame,) = line.sent()
    assert frames.string("welcome") in frame.body
    assert frames.strings_of(["bob"]) in frame.body
    with pytest.raises(ValueError, match="only a message that a client has received"):
        ReceivedMessage("bob", "x", 0, ()).reply("y")
    assert message == ReceivedMessage("bob", "hello", message.time, ("alice",), offset=1)


# Publishing ids.


def test_ids_start_above_the_servers_highest() -> None:
    line = Line(granted={"publishing_id": "41"})
    silence(*send(line, "a", "b"))
    assert line.published() == [(42, "a"), (43, "b")]
    assert line.client.resume_state.publishing_id == 43


def test_ids_start_above_those_of_an_earlier_process() -> None:
    line = Line(granted={"publishing_id": "41"}, resume=ResumeState(publishing_id=50))
    silence(*send(line, "a"))
    assert line.published() == [(51, "a")]


def test_ids_continue_above_those_of_another_session() -> None:
    line = Line()
    silence(*send(line, "a"))
    line.answer_all()
    line.reconnect(publishing_id="7")
    silence(*send(line, "b"))
    assert line.published() == [(8, "b")]


@pytest.mark.parametrize("granted", ["", "x", "-1", "1" * 30, "²"])
def test_an_invalid_publishing_id_property_counts_as_0(granted: str) -> None:
    line = Line(granted={"publishing_id": granted})
    silence(*send(line, "a"))
    assert line.published() == [(1, "a")]


def test_without_an_id_left_nothing_is_sent_and_the_application_hears_why() -> None:
    line = Line(granted={"publishing_id": str(2**63 - 2)})
    silence(*send(line, "a"))
    refused = send(line, "b", "c")
    assert line.published() == [(2**63 - 1, "a")]
    for one in refused:
        with pytest.raises(Malformed, match="no publishing id is left"):
            result(one)
    assert line.published() == []


@pytest.mark.parametrize("id_", [-1, 2**63, 2**64])
def test_an_id_that_no_server_accepts_is_not_sent(id_: int) -> None:
    line = Line()
    with pytest.raises(ValueError, match=r"from 0 to 2\^63 - 1|is not a uint64"):
        result(line.client.send("bob", "a", publishing_id=id_))
    assert line.published() == []


def test_messages_queued_while_offline_are_sent_in_order() -> None:
    line = Line(None)
    silence(*send(line, "a", "b", "c"))
    line.connect()
    line.log_in(publishing_id="5")
    assert line.published() == [(6, "a"), (7, "b"), (8, "c")]


# Ids that the application chooses.


def test_ids_of_the_application_are_used_unchanged() -> None:
    line = Line(None)
    silence(
        line.client.send("bob", "a", publishing_id=7),
        line.client.send_to_all("b", publishing_id=9),
    )
    assert line.client.resume_state.publishing_id == 9
    line.connect()
    line.log_in(publishing_id="8")
    assert line.published() == [(7, "a"), (9, "b")]


def test_ids_of_the_application_must_grow() -> None:
    line = Line()
    silence(line.client.send("bob", "a", publishing_id=7))
    for number in (7, 6):
        with pytest.raises(ValueError, match=f"{number} is not above 7"):
            result(line.client.send("bob", "b", publishing_id=number))
    assert line.published() == [(7, "a")]


@pytest.mark.parametrize("number", [-1, 2**64])
def test_an_id_outside_uint64_is_a_value_error(number: int) -> None:
    line = Line()
    with pytest.raises(ValueError, match="uint64"):
        result(line.client.send("bob", "a", publishing_id=number))
    silence(*send(line, "b"))
    assert line.published() == [(1, "b")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_ids_are_chosen_for_every_message_or_none(order: tuple[int, int]) -> None:
    line = Line()
    first, second = order
    silence(line.client.send("bob", "a", publishing_id=first))
    with pytest.raises(ValueError, match="every message of a client or with none"):
        result(line.client.send("bob", "b", publishing_id=second))
    assert len(line.published()) == 1


# Limits.


def test_the_number_in_flight_is_limited() -> None:
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
def test_the_limit_of_messages_in_flight(asked: int | None, limit: int) -> None:
    options: dict[str, Any] = {} if asked is None else {"in_flight": asked}
    line = Line(None, **options)
    silence(*send(line, *["x"] * 2000))
    line.connect()
    line.log_in()
    assert len(line.sent()) == limit


def test_an_in_flight_limit_of_0_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="in_flight"):
        Line(in_flight=0)


def test_too_many_unsent() -> None:
    line = Line(None)
    silence(*send(line, *["x"] * UNSENT_LIMIT))
    (refused,) = send(line, "one more")
    with pytest.raises(TooManyUnsent, match="10000 messages are waiting to be sent already"):
        result(refused)
    line.connect()
    line.log_in()
    assert len(line.sent()) == DEFAULT_IN_FLIGHT
    silence(*send(line, *["x"] * DEFAULT_IN_FLIGHT))
    (refused,) = send(line, "one more")
    with pytest.raises(TooManyUnsent):
        result(refused)


def test_a_message_refused_as_too_many_unsent_can_reuse_its_id() -> None:
    line = Line(None, in_flight=1)
    for number in range(UNSENT_LIMIT):
        silence(line.client.send("bob", "x", publishing_id=number + 1))
    with pytest.raises(TooManyUnsent):
        result(line.client.send("bob", "y", publishing_id=UNSENT_LIMIT + 1))
    line.connect()
    line.log_in()
    silence(line.client.send("bob", "y", publishing_id=UNSENT_LIMIT + 1))


# Canceling.


def test_a_message_canceled_before_sending_is_not_sent() -> None:
    line = Line(None)
    first, second, third = send(line, *"abc")
    second.cancel()
    with pytest.raises(CancelledError):
        result(second)
    line.connect()
    line.log_in()
    assert line.published() == [(1, "a"), (2, "c")]
    silence(first, third)


def test_a_message_canceled_after_sending_is_still_resent() -> None:
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


def test_stopping_fails_all_messages_in_order() -> None:
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
    unknown = "the client has stopped; the message may or may not have been stored"
    assert order == [
        ("a", unknown),
        ("b", unknown),
        ("c", "the client has stopped"),
        ("d", "the client has stopped"),
    ]
    with pytest.raises(NotConnected):
        result(line.client.send("bob", "f"))


def test_a_message_sent_while_connecting_waits() -> None:
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


def test_an_errback_may_restart_the_client_and_send() -> None:
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


def test_a_message_that_came_too_late_says_what_a_resend_would_do() -> None:
    line = Line()
    (sending,) = send(line, "a")
    (frame,) = line.sent()
    detail = "publishingId 1 was not stored, but 2 was"
    line.push(frames.response_2(frame.correlation_id, frames.OUT_OF_ORDER, detail))
    with pytest.raises(OutOfOrder, match=f"{detail}; sent again, .* behind later ones"):
        result(sending)
