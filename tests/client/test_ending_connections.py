"""Heartbeats, timeouts, and the end of a connection."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionLost

from chat_protocol.client import DEFAULT_TIMEOUT, Offline, State
from chat_protocol.client.connection import CLOSE_TIMEOUT
from chat_protocol.errors import NotConnected
from tests.client import frames
from tests.client.line import Line, result

# Heartbeats.


def test_heartbeats_are_sent_at_half_the_granted_interval() -> None:
    line = Line(granted={"heartbeat": "10"}, heartbeat=30)
    line.clock.advance(4.9)
    assert line.sent() == []
    line.clock.advance(0.1)
    (frame,) = line.sent()
    assert frame == frames.Frame(2, frames.HEARTBEAT, 0, b"")
    line.answer(frame)
    line.clock.advance(5)
    assert [frame.key for frame in line.sent()] == [frames.HEARTBEAT]


@pytest.mark.parametrize("granted", ["0", "", "-3", "x"])
def test_no_heartbeats_unless_granted(granted: str) -> None:
    line = Line(granted={"heartbeat": granted}, heartbeat=30)
    assert line.clock.getDelayedCalls() == []
    line.clock.advance(1000)
    assert line.sent() == []


def test_no_heartbeats_in_version_1() -> None:
    line = Line(1)
    assert line.clock.getDelayedCalls() == []


def test_a_silent_server_is_aborted_after_twice_the_interval() -> None:
    line = Line(granted={"heartbeat": "10"})
    line.clock.advance(1)
    line.push(frames.presence("bob", 1))
    # The server was heard at 1 s, so the silence counts from the check at 5 s.
    line.clock.pump([4, 5, 5, 5])
    assert not line.transport.disconnected
    line.clock.advance(5)
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    offline = line.events[-1]
    assert isinstance(offline, Offline)
    assert str(offline.reason) == "the server sent nothing for 20 seconds"
    line.stop()


def test_a_server_that_answers_heartbeats_is_kept() -> None:
    line = Line(granted={"heartbeat": "10"})
    for _ in range(20):
        line.clock.advance(5)
        line.answer_all()
    assert not line.transport.disconnected


def test_a_stalled_reactor_does_not_count_as_silence() -> None:
    line = Line(granted={"heartbeat": "10"})
    line.clock.advance(1000)
    assert not line.transport.disconnected
    line.answer_all()


# The end.


def test_login_timeout() -> None:
    line = Line(None)
    line.connect()
    line.clock.advance(DEFAULT_TIMEOUT)
    assert line.transport.disconnected
    line.lose(ConnectionLost())
    offline = line.events[-1]
    assert isinstance(offline, Offline)
    assert str(offline.reason) == "the server did not answer within 10 seconds"
    line.connect()
    line.log_in()
    assert line.client.state is State.ONLINE


def test_stopping_sends_close_in_version_2_and_waits_for_the_end() -> None:
    line = Line()
    sent, stopping = line.client.send("bob", "1"), line.client.stopService()
    publish, close = line.sent()
    assert (close.version, close.key) == (2, frames.CLOSE)
    assert close.body == b"\0\1\0\0"
    assert not line.transport.disconnecting
    line.answer(publish)
    assert result(sent) is None
    line.answer(close)
    assert not stopping.called
    line.lose()
    assert result(stopping) is None
    assert line.idle


def test_stopping_closes_the_connection_in_version_1() -> None:
    line = Line(1)
    sent, stopping = line.client.send("bob", "1"), line.client.stopService()
    assert [frame.key for frame in line.sent()] == [frames.MESSAGE]
    assert line.transport.disconnecting
    assert not stopping.called
    line.lose()
    assert result(stopping) is None
    with pytest.raises(
        NotConnected, match=r"the client disconnected; the message may or may not have been stored"
    ):
        result(sent)
    assert line.idle


@pytest.mark.parametrize("session", [1, 2])
def test_a_server_that_does_not_close_is_aborted(session: int) -> None:
    line = Line(session)
    stopping = line.client.stopService()
    line.clock.advance(CLOSE_TIMEOUT - 0.1)
    assert not line.transport.disconnected
    line.clock.advance(0.1)
    assert line.transport.disconnected
    assert not stopping.called
    line.lose(ConnectionLost())
    assert result(stopping) is None
    assert line.idle


def test_a_stopped_client_sends_no_heartbeats() -> None:
    line = Line(granted={"heartbeat": "2"})
    line.client.stopService()
    line.sent()
    line.clock.advance(CLOSE_TIMEOUT - 0.1)
    assert line.sent() == []
    line.lose()
