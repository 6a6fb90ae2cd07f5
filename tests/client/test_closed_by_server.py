"""What a server says before it ends the connection, and what the client does then."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost

from chat_protocol.client import Ended, Offline, Online, State
from chat_protocol.client.backoff import FIRST_DELAY, SPREAD
from chat_protocol.client.connection import CLOSE_TIMEOUT
from chat_protocol.errors import (
    Replaced,
    UserAlreadyLogged,
)
from tests.client import frames
from tests.client.line import Line, result, silence


def test_a_session_that_is_replaced_ends_the_client() -> None:
    line = Line(granted={"session": "first"})
    unanswered, receiving = line.client.send("bob", "1"), line.client.receive()
    answered = line.client.send("bob", "2")
    _, second = line.sent()
    line.push(frames.close(frames.REPLACED, "by the other one"))
    assert line.client.state is State.CLOSING
    assert line.sent() == [], "the server reads no more"
    line.answer(second)
    assert result(answered) is None
    line.lose()
    with pytest.raises(Replaced, match=r"by the other one; whether .* is not known"):
        result(unanswered)
    with pytest.raises(Replaced, match="by the other one"):
        result(receiving)
    ended = line.events[-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.reason, Replaced)
    assert line.client.resume_state.session == ""
    assert line.idle


def test_a_client_that_was_replaced_can_be_started_again_and_finds_its_name_in_use() -> None:
    line = Line(granted={"session": "first"})
    line.push(frames.close(frames.REPLACED))
    line.lose()
    line.client.startService()
    waiting = line.client.when_online()
    line.connect()
    line.refuse_login(frames.ALREADY_LOGGED)
    line.lose()
    with pytest.raises(UserAlreadyLogged):
        result(waiting)


def test_a_server_that_goes_away_is_tried_again_within_the_spread() -> None:
    line = Line()
    sent = [line.client.send("bob", str(number)) for number in range(3)]
    first, *_ = line.sent()
    line.push(frames.close(frames.GOING_AWAY, "restarting"))
    line.answer(first)
    assert result(sent[0]) is None, "answers still come"
    later = line.client.send("bob", "3")
    assert line.sent() == []
    line.lose()
    offline = line.events[-1]
    assert isinstance(offline, Offline)
    assert offline.retry_in == SPREAD
    assert str(offline.reason) == "the server ended the connection: restarting"
    assert line.wait() == SPREAD
    line.connect()
    line.log_in()
    assert line.published() == [(2, "1"), (3, "2"), (4, "3")]
    silence(*sent, later)


def test_a_missed_heartbeat_reconnects() -> None:
    line = Line()
    line.push(frames.close(frames.HEARTBEAT_MISSED))
    line.lose()
    assert line.wait() == FIRST_DELAY
    line.connect()
    line.log_in()
    assert [type(event) for event in line.events] == [Online, Offline, Online]


def test_a_server_that_says_close_and_does_not_is_cut() -> None:
    line = Line(granted={"heartbeat": "1"})
    sent = line.client.send("bob", "1")
    publish, *_ = line.sent()
    line.push(frames.close(frames.GOING_AWAY))
    line.clock.advance(CLOSE_TIMEOUT - 0.1)
    assert line.sent() == [], "no heartbeats"
    line.answer(publish)
    assert result(sent) is None, "the silence of a server that ends is none"
    assert not line.transport.disconnected
    line.clock.advance(0.1)
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    assert line.client.state is State.CONNECTING
