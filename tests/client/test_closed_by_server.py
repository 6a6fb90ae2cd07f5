"""A Close from the server, and the client's reaction."""

from __future__ import annotations

import struct

import pytest
from twisted.internet.error import ConnectionLost

from chat_protocol.client import Ended, Offline, Online, State
from chat_protocol.client.backoff import FIRST_DELAY, SPREAD
from chat_protocol.client.connection import CLOSE_TIMEOUT
from chat_protocol.errors import (
    FrameLengthError,
    Replaced,
    UserAlreadyLogged,
)
from chat_protocol.wire.codec import MAX_FRAME
from tests.client import frames
from tests.client.line import Line, result, silence, take


def test_a_replaced_session_stops_the_client() -> None:
    line = Line(granted={"session": "first"})
    unanswered, receiving = line.client.send("bob", "1"), line.client.receive()
    answered = line.client.send("bob", "2")
    _, second = line.sent()
    line.push(frames.close(frames.REPLACED, "by the other one"))
    assert line.client.state is State.CLOSING
    assert line.sent() == [], "nothing is sent after the Close"
    line.answer(second)
    assert result(answered) is None
    line.lose()
    with pytest.raises(
        Replaced, match=r"by the other one; the message may or may not have been stored"
    ):
        result(unanswered)
    with pytest.raises(Replaced, match="by the other one"):
        result(receiving)
    ended = line.events[-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.reason, Replaced)
    assert line.client.resume_state.session == ""
    assert line.idle


def test_a_replaced_client_can_be_restarted_and_finds_its_name_in_use() -> None:
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


def test_the_client_reconnects_within_the_spread_after_going_away() -> None:
    line = Line()
    sent = [line.client.send("bob", str(number)) for number in range(3)]
    first, *_ = line.sent()
    line.push(frames.close(frames.GOING_AWAY, "restarting"))
    line.answer(first)
    assert result(sent[0]) is None, "answers still count"
    later = line.client.send("bob", "3")
    assert line.sent() == []
    line.lose()
    offline = line.events[-1]
    assert isinstance(offline, Offline)
    assert offline.retry_in == SPREAD
    assert str(offline.reason) == "the server closed the connection: restarting"
    assert line.wait() == SPREAD
    line.connect()
    line.log_in()
    assert line.published() == [(2, "1"), (3, "2"), (4, "3")]
    silence(*sent, later)


@pytest.mark.parametrize(
    ("close", "reason"),
    [
        (frames.close(frames.HEARTBEAT_MISSED), "code 0x010B"),
        (frames.close(frames.UNASSIGNED), "code 0x7001"),
        (frames.close(frames.UNASSIGNED, "maintenance"), "maintenance"),
    ],
)
def test_a_close_with_another_or_an_unknown_code_reconnects(close: bytes, reason: str) -> None:
    line = Line()
    line.push(close)
    line.lose()
    assert line.wait() == FIRST_DELAY
    line.connect()
    line.log_in()
    _, offline, _ = line.events
    assert [type(event) for event in line.events] == [Online, Offline, Online]
    assert isinstance(offline, Offline)
    assert str(offline.reason) == f"the server closed the connection: {reason}"


def test_a_server_that_announces_close_but_stays_is_aborted() -> None:
    line = Line(granted={"heartbeat": "1"})
    sent = line.client.send("bob", "1")
    publish, *_ = line.sent()
    line.push(frames.close(frames.GOING_AWAY))
    line.clock.advance(CLOSE_TIMEOUT - 0.1)
    assert line.sent() == [], "no heartbeats"
    line.answer(publish)
    assert result(sent) is None, "the announced end is not treated as silence"
    assert not line.transport.disconnected
    line.clock.advance(0.1)
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    assert line.client.state is State.CONNECTING


@pytest.mark.parametrize("version", [1, 2])
def test_a_message_that_is_too_long_is_not_fetched_for_ever(version: int) -> None:
    line = Line(version)
    too_long = struct.pack(">I", MAX_FRAME + 1)
    for arrives in (True, False):
        line.push(too_long)
        assert line.transport.disconnecting or line.transport.disconnected
        assert line.client.state is State.ONLINE
        line.lose()
        line.connect()
        line.log_in(version)
        if arrives:
            line.push(frames.deliver(1, "x") if version > 1 else frames.delivery("x"))
    line.push(too_long)
    assert line.client.state is State.CLOSING
    line.lose()
    ended = line.events[-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.reason, FrameLengthError)
    with pytest.raises(FrameLengthError, match=f"a frame length of {MAX_FRAME + 1} bytes"):
        result(line.client.send("bob", "x"))
    take(line)
