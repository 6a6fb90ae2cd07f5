"""The idle timeout of ``listen``."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from chat_protocol.cli.script import _next_message
from chat_protocol.client import ReceivedMessage
from tests.cli.sessions import OpenedSession, result


def listening(opened: OpenedSession) -> Deferred[ReceivedMessage | None]:
    return Deferred.fromCoroutine(_next_message(opened.clock, opened.session.client, 5.0))


def test_an_idle_timeout_returns_none() -> None:
    opened = OpenedSession()
    opened.open()
    waiting = listening(opened)
    opened.clock.advance(4.9)
    assert not waiting.called
    opened.clock.advance(0.2)
    assert result(waiting) is None


def test_a_message_cancels_the_idle_timeout() -> None:
    opened = OpenedSession()
    opened.open()
    waiting = listening(opened)
    opened.network.deliver("hi")
    message = result(waiting)
    assert message is not None
    assert message.text == "hi"
    assert opened.clock.getDelayedCalls() == []


def test_time_offline_does_not_count_as_idle() -> None:
    opened = OpenedSession()
    opened.open()
    waiting = listening(opened)
    opened.network.down = True
    opened.network.lose()
    opened.clock.pump([1] * 20)
    assert not waiting.called
    opened.reconnect()
    opened.clock.advance(4.9)
    assert not waiting.called
    opened.clock.advance(0.2)
    assert result(waiting) is None
