"""Waiting for the next message, with a clock."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from chat_protocol.cli.script import _next
from chat_protocol.client import ReceivedMessage
from tests.cli.talk import Opened, result


def listening(opened: Opened) -> Deferred[ReceivedMessage | None]:
    return Deferred.fromCoroutine(_next(opened.clock, opened.session.client, 5.0))


def test_silence_is_none() -> None:
    opened = Opened()
    opened.open()
    waiting = listening(opened)
    opened.clock.advance(4.9)
    assert not waiting.called
    opened.clock.advance(0.2)
    assert result(waiting) is None


def test_a_message_ends_the_waiting() -> None:
    opened = Opened()
    opened.open()
    waiting = listening(opened)
    opened.network.deliver("hi")
    message = result(waiting)
    assert message is not None
    assert message.text == "hi"
    assert opened.clock.getDelayedCalls() == []


def test_without_a_connection_it_is_not_silence() -> None:
    opened = Opened()
    opened.open()
    waiting = listening(opened)
    opened.network.down = True
    opened.network.lose()
    opened.clock.pump([1] * 20)
    assert not waiting.called
    opened.come_back()
    opened.clock.advance(4.9)
    assert not waiting.called
    opened.clock.advance(0.2)
    assert result(waiting) is None
