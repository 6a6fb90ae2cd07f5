"""Outgoing messages to version 1 servers, and to servers that change their version."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost

from chat_protocol.client import State
from chat_protocol.errors import (
    MailboxFull,
    NotConnected,
    RequestTimeout,
    UnknownCommand,
    UserNotFound,
)
from tests.client import frames
from tests.client.line import Line, result, send, silence

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


def test_one_refused_recipient_fails_the_message_in_version_1() -> None:
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


def test_many_immediate_failures_do_not_recurse() -> None:
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


def test_messages_in_flight_on_a_lost_version_1_connection_fail_as_unknown() -> None:
    line = Line(1)
    sent = send(line, "a", "b")
    line.lose(ConnectionLost())
    for one in sent:
        with pytest.raises(
            NotConnected,
            match=r"connection was lost.*; the message may or may not have been stored",
        ):
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


def test_a_version_2_message_has_no_timeout() -> None:
    line = Line()
    (sent,) = send(line, "a")
    line.clock.advance(1000)
    line.answer_all(frames.MAILBOX_FULL)
    with pytest.raises(MailboxFull):
        result(sent)


def test_a_downgraded_server_gets_no_message_twice() -> None:
    line = Line(2, in_flight=2)
    sent = send(line, "a", "b", "c")
    line.reconnect(1)
    for one in sent[:2]:
        with pytest.raises(
            NotConnected,
            match=r"the server now speaks version 1; the message may or may not have been stored",
        ):
            result(one)
    (c,) = line.sent()
    assert (c.key, frames.strings(c.body, 1)) == (frames.MESSAGE, ["c"])
    silence(sent[2])


def test_an_upgraded_server_is_used_with_version_2() -> None:
    line = Line(1)
    silence(*send(line, "a"))
    line.reconnect(2, publishing_id="4")
    sent = send(line, "b")
    assert [text for _, text in line.published()] == ["b"]
    line.reconnect()
    line.answer_all()
    assert result(sent[0]) is None
    assert line.client.version == 2
