"""``connect`` and the two ways to take messages."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

import chat_protocol.client
from chat_protocol.client import ReceivedMessage, connect
from chat_protocol.errors import NotConnected

from . import frames
from .line import Line, result


def test_every_public_name_is_there() -> None:
    for name in chat_protocol.client.__all__:
        assert getattr(chat_protocol.client, name) is not None


def test_a_failed_connect_is_not_connected_with_its_cause() -> None:
    reactor = MemoryReactorClock()
    connecting = connect(TCP4ClientEndpoint(reactor, "example", 5555), reactor)
    factory = reactor.tcpClients[0][2]
    reason = Failure(ConnectError(string="no"))
    factory.clientConnectionFailed(reactor.connectors[0], reason)
    with pytest.raises(NotConnected, match="cannot connect") as caught:
        result(connecting)
    assert isinstance(caught.value.__cause__, ConnectError)


def test_connecting_can_be_cancelled() -> None:
    reactor = MemoryReactorClock()
    connecting = connect(TCP4ClientEndpoint(reactor, "example", 5555), reactor)
    connecting.cancel()
    with pytest.raises((CancelledError, ConnectingCancelledError)):
        result(connecting)
    assert reactor.connectors[0].stoppedConnecting


def texts(line: Line, into: list[str]) -> Deferred[None]:
    async def loop() -> None:
        async for message in line.client.messages():
            into.append(message.text)

    return Deferred.fromCoroutine(loop())


def test_the_loop_over_messages_ends_after_disconnect() -> None:
    line = Line()
    seen: list[str] = []
    line.push(frames.delivery("before"))
    loop = texts(line, seen)
    line.push(frames.delivery("while"))
    gone = line.client.disconnect()
    line.push(frames.delivery("after"))
    assert not loop.called
    line.lose()
    assert result(loop) is None
    assert result(gone) is None
    assert seen == ["before", "while", "after"]


def test_a_lost_connection_comes_out_of_the_loop() -> None:
    line = Line()
    seen: list[str] = []
    line.push(frames.delivery("before"))
    loop = texts(line, seen)
    line.lose(ConnectionLost())
    with pytest.raises(NotConnected):
        result(loop)
    assert seen == ["before"]


def test_leaving_the_loop_loses_nothing() -> None:
    line = Line()
    line.push(frames.delivery("1") + frames.delivery("2"))

    async def one() -> str:
        async for message in line.client.messages():
            return message.text
        return "none"

    assert result(Deferred.fromCoroutine(one())) == "1"
    assert result(Deferred.fromCoroutine(one())) == "2"


def test_a_callback_gets_the_next_message_when_it_is_done_with_the_last() -> None:
    line = Line()
    seen: list[str] = []
    done: list[Deferred[None]] = []

    def callback(message: ReceivedMessage) -> Deferred[None]:
        seen.append(message.text)
        done.append(Deferred())
        return done[-1]

    consuming = line.client.consume(callback)
    line.push(frames.delivery("1") + frames.delivery("2"))
    assert seen == ["1"]
    done[0].callback(None)
    assert seen == ["1", "2"]
    done[1].callback(None)
    gone = line.client.disconnect()
    line.lose()
    assert result(gone) is None
    assert result(consuming) is None


def test_a_slow_callback_stops_the_reading() -> None:
    line = Line(max_unread=1000)
    busy: Deferred[None] = Deferred()
    consuming = line.client.consume(lambda message: busy)
    for _ in range(4):
        assert line.reading
        line.push(frames.delivery("x" * 200))
    assert not line.reading
    busy.callback(None)
    assert line.reading
    consuming.addErrback(lambda _: None)
    consuming.cancel()


def test_a_callback_can_be_a_coroutine_function() -> None:
    line = Line()
    seen: list[str] = []

    async def callback(message: ReceivedMessage) -> None:
        seen.append(message.text)

    consuming = line.client.consume(callback)
    line.push(frames.delivery("1"))
    assert seen == ["1"]
    consuming.addErrback(lambda _: None)
    consuming.cancel()


def test_what_a_callback_raises_ends_the_consuming_only() -> None:
    line = Line()

    def callback(message: ReceivedMessage) -> None:
        raise ZeroDivisionError

    consuming = line.client.consume(callback)
    line.push(frames.delivery("1") + frames.delivery("2"))
    with pytest.raises(ZeroDivisionError):
        result(consuming)
    assert line.client.connected
    assert result(line.client.receive()).text == "2"
